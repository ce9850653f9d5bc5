"""DeepSpeed as the learner uses it: its accelerator, and without GPUs its compiled collectives."""

import os
import time
from collections.abc import Iterator

import torch

from keomni_rl.doctor.finding import Finding, ok, warning
from keomni_rl.engines.operators import prepare_operators

AREA = "engines"


def probe() -> Iterator[Finding]:
    """Import DeepSpeed in the learner's environment; compile what is not compiled yet."""
    on_gpu = torch.cuda.is_available()
    prepare_operators(on_gpu=on_gpu)
    import deepspeed
    from deepspeed.accelerator import get_accelerator

    wanted = "cuda" if on_gpu else "cpu"
    found = get_accelerator().device_name()
    told = f"{deepspeed.__version__} loads, its accelerator is {found}"
    if found == wanted:
        yield ok(AREA, "deepspeed", told)
    else:
        yield warning(AREA, "deepspeed", f"{told}, wanted {wanted}", "unset DS_ACCELERATOR")
    yield offloaded_optimizer() if on_gpu else collectives()


def collectives() -> Finding:
    """Load the collectives of ranks on one machine, which go through shared memory."""
    from deepspeed.ops.op_builder.cpu.comm import ShareMemCommBuilder

    begun = time.monotonic()
    ShareMemCommBuilder().load(verbose=False)
    took = time.monotonic() - begun
    where = os.environ["TORCH_EXTENSIONS_DIR"]
    return ok(AREA, "deepspeed's operators", f"collectives load in {took:.1f} s from {where}")


def offloaded_optimizer() -> Finding:
    """Whether the optimizer could be compiled that ``learner.offload_optimizer`` needs."""
    from deepspeed.ops.op_builder import CPUAdamBuilder

    name = "deepspeed's operators"
    if CPUAdamBuilder().is_compatible():
        return ok(AREA, name, "the offloaded optimizer can be compiled")
    return warning(
        AREA,
        name,
        "the offloaded optimizer cannot be compiled",
        "install the CUDA toolkit of torch's version, if learner.offload_optimizer is wanted",
    )
