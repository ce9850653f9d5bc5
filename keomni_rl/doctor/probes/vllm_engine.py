"""vLLM as rollout actors import it: its platform, a compiled kernel that computes, our plugin."""

import os
from collections.abc import Iterator

from keomni_rl.doctor.finding import Finding, failure, ok

AREA = "engines"


def probe() -> Iterator[Finding]:
    """Import what `keomni_rl.engines.rollout` does; no engine is started."""
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    os.environ["VLLM_NO_USAGE_STATS"] = "1"
    import vllm.v1.engine.async_llm
    from vllm.platforms import current_platform

    yield ok(AREA, "vllm", f"{vllm.__version__} loads, for {current_platform.device_type}")
    yield kernel(current_platform.device_type)
    yield plugin()


def kernel(device: str) -> Finding:
    """Run one of vLLM's own operators, compiled for this processor or GPU."""
    import torch
    from vllm.platforms import current_platform

    name = "vllm's kernels"
    current_platform.import_kernels()
    if not hasattr(torch.ops._C, "silu_and_mul"):
        return failure(
            AREA,
            name,
            f"not loaded on {device or 'this machine'}",
            "`python -c 'import vllm._C'` says why; vLLM must be built for this torch and machine "
            "(`bash scripts/setup.sh`)",
        )
    values = torch.linspace(-2, 2, 64, device=device).reshape(1, 64)
    out = torch.empty(1, 32, device=device)
    torch.ops._C.silu_and_mul(out, values)
    expected = torch.nn.functional.silu(values[:, :32]) * values[:, 32:]
    if torch.allclose(out, expected, atol=1e-4):
        return ok(AREA, name, f"compute on {device}")
    return failure(
        AREA,
        name,
        f"compute something else than torch on {device}",
        "run `bash scripts/setup.sh` in the checkout, which brings the vLLM for this machine",
    )


def plugin() -> Finding:
    """Whether vLLM, left to itself, finds the weight transfer that comes with keomni_rl."""
    from vllm.distributed.weight_transfer.factory import WeightTransferEngineFactory
    from vllm.plugins import load_general_plugins

    from keomni_rl.engines.cpu_weight_transfer import BACKEND, receiver_name

    name = "vllm's plugin"
    load_general_plugins()
    if receiver_name(BACKEND) in WeightTransferEngineFactory._registry:
        return ok(AREA, name, "keomni_rl is found and registers its weight transfer")
    allowed = os.environ.get("VLLM_PLUGINS")
    if allowed is not None and "keomni_rl" not in allowed.split(","):
        return failure(
            AREA,
            name,
            f"VLLM_PLUGINS={allowed!r:.80} leaves keomni_rl out",
            "unset VLLM_PLUGINS, or add keomni_rl to it",
        )
    return failure(
        AREA,
        name,
        "keomni_rl is not found, so engines cannot take weights",
        "install keomni-rl as a package: `bash scripts/setup.sh` in the checkout",
    )
