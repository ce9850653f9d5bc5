"""torch: which build, whether it fits the vLLM that is here, and each GPU by running a kernel."""

import importlib.metadata
import shutil
import subprocess
from collections.abc import Iterator

import torch

from keomni_rl.doctor.finding import Finding, failure, ok, warning

GIB = 2**30
MIN_FREE = 0.9
"""Of a GPU's memory; engines and learner take shares of all of it."""
SMI_LIMIT_S = 20


def probe(*, has_gpu: bool) -> Iterator[Finding]:
    """Look.

    Args:
        has_gpu: whether the machine shows a GPU of NVIDIA's.
    """
    yield check_build(torch.version.cuda, has_cuda_vllm=_is_installed("vllm"))
    if not has_gpu and not torch.cuda.is_available():
        yield ok("gpus", "GPUs", "none; engines and learner run on the processor")
        return
    yield driver()
    if not torch.cuda.is_available():
        yield failure("gpus", "GPUs", _why_not(), "see the driver's line; then `nvidia-smi`")
        return
    for index in range(torch.cuda.device_count()):
        yield check_gpu(index)


def check_build(cuda: str | None, *, has_cuda_vllm: bool) -> Finding:
    """Compiled code of vLLM and torch fits together only if both are built for the same.

    Args:
        cuda: the version that torch is built for; None for a build without CUDA.
        has_cuda_vllm: whether vLLM is the one that is built for GPUs.
    """
    name = "torch's build"
    told = f"for CUDA {cuda}" if cuda else "without CUDA"
    if bool(cuda) == has_cuda_vllm:
        return ok("engines", name, told)
    return failure(
        "engines",
        name,
        f"{told}, but vLLM is built {'for CUDA' if has_cuda_vllm else 'without CUDA'}",
        "`pip uninstall torch`, then run `bash scripts/setup.sh` in the checkout: it picks the "
        "build for this machine",
    )


def driver() -> Finding:
    """What nvidia-smi says of the driver."""
    name = "driver"
    remedy = "install NVIDIA's driver, or start the container with `--gpus all`"
    command = shutil.which("nvidia-smi")
    if not command:
        return warning("gpus", name, "no nvidia-smi on the path", remedy)
    done = subprocess.run(
        [command, "--query-gpu=driver_version", "--format=csv,noheader"],
        capture_output=True,
        text=True,
        check=False,
        timeout=SMI_LIMIT_S,
    )
    said = (done.stdout + done.stderr).strip().splitlines() or ["nothing"]
    if done.returncode:
        return failure("gpus", name, f"nvidia-smi says: {said[0]:.200}", remedy)
    supported = _driver_version() if torch.version.cuda else 0
    cuda = f", CUDA up to {supported // 1000}.{supported % 1000 // 10}" if supported else ""
    return ok("gpus", name, f"{said[0]}{cuda}")


def check_gpu(index: int) -> Finding:
    """Memory of a GPU, and whether this torch has kernels for it."""
    properties = torch.cuda.get_device_properties(index)
    one = torch.ones(64, 64, device=f"cuda:{index}", dtype=torch.bfloat16)
    torch.cuda.synchronize(index)
    free, total = torch.cuda.mem_get_info(index)
    name = f"GPU {index}"
    told = (
        f"{properties.name}, compute capability {properties.major}.{properties.minor}, "
        f"{free / GIB:.0f} GiB of {total / GIB:.0f} GiB free"
    )
    if (one @ one).sum().item() != 64**3:
        return failure("gpus", name, f"{told}; a product came out wrong", "replace this GPU")
    if free < MIN_FREE * total:
        return warning("gpus", name, told, "see who uses it with `nvidia-smi`, and end that")
    return ok("gpus", name, told)


def _why_not() -> str:
    try:
        torch.cuda.init()
    except (RuntimeError, AssertionError) as error:
        return f"torch cannot use them: {str(error).splitlines()[0]:.200}"
    return "torch sees none"


def _driver_version() -> int:
    """Of CUDA, that the driver supports: 13020 is 13.2."""
    found: int = torch._C._cuda_getDriverVersion()  # type: ignore[attr-defined]
    return found


def _is_installed(name: str) -> bool:
    return any(importlib.metadata.distributions(name=name))
