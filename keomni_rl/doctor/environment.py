"""Environment variables that change what a run does; values that are secrets are not shown."""

from collections.abc import Iterator, Mapping

from keomni_rl.doctor.finding import Finding, ok, warning
from keomni_rl.doctor.scrub import HIDDEN, is_secret

AREA = "environment"
PREFIXES = (
    "AWS_",
    "CUDA_",
    "DS_",
    "GLOO_",
    "GOOGLE_APPLICATION_",
    "HF_",
    "KEOMNI_RL_",
    "KMP_",
    "MKL_",
    "NCCL_",
    "OMP_",
    "RAY_",
    "TORCH_",
    "TRANSFORMERS_",
    "VLLM_",
)
NAMES = ("CXX", "LD_LIBRARY_PATH", "LD_PRELOAD", "PYTHONPATH", "TMPDIR", "XDG_CACHE_HOME")
PROXIES = ("http_proxy", "https_proxy", "grpc_proxy", "all_proxy")
NO_PROXY = "no_proxy"
OFF = ("", "0", "false", "no", "off")
SLOW = ("CUDA_LAUNCH_BLOCKING", "NCCL_P2P_DISABLE", "NCCL_SHM_DISABLE", "NCCL_IB_DISABLE")
"""Made for finding a fault; with them on, everything is slow."""


def check_environment(environ: Mapping[str, str], *, has_gpu: bool) -> Iterator[Finding]:
    """What is set, and what of it is likely not meant.

    Args:
        environ: of this process, which actors on this machine inherit.
        has_gpu: whether an NVIDIA GPU is there.
    """
    found = {name: value for name, value in sorted(environ.items()) if _matters(name)}
    told = [f"{name}={HIDDEN if is_secret(name) else value}" for name, value in found.items()]
    yield ok(AREA, "variables", "\n".join(told) or "none that changes what a run does")
    visible = environ.get("CUDA_VISIBLE_DEVICES")
    if has_gpu and visible is not None and visible.strip() in ("", "-1"):
        yield warning(
            AREA,
            "CUDA_VISIBLE_DEVICES",
            f"{visible!r} hides every GPU",
            "unset it, or name the GPUs that may be used",
        )
    for name in SLOW:
        if environ.get(name, "").lower() not in OFF:
            yield warning(AREA, name, f"{environ[name]!r:.40} is slow", f"unset {name}")
    yield from _check_proxies({name.lower(): value for name, value in environ.items()})
    if environ.get("RAY_ADDRESS") and environ.get("RAY_AUTH_MODE") != "token":
        yield warning(
            AREA,
            "RAY_AUTH_MODE",
            "not token, though RAY_ADDRESS names a cluster; Ray's clusters ask for a token",
            "set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN or ~/.ray/auth_token",
        )


def _check_proxies(environ: Mapping[str, str]) -> Iterator[Finding]:
    """Ray's gRPC goes through a proxy if one is set, also to this very machine."""
    used = [name for name in PROXIES if environ.get(name)]
    spared = environ.get(NO_PROXY, "").split(",")
    if used and not {"*", "127.0.0.1"} & {host.strip() for host in spared}:
        yield warning(
            AREA,
            "proxy",
            f"{', '.join(used)} set, and {NO_PROXY} does not spare 127.0.0.1",
            "add 127.0.0.1,localhost and the cluster's addresses to no_proxy and NO_PROXY, or Ray "
            "asks the proxy for its own processes",
        )


def _matters(name: str) -> bool:
    return name.startswith(PREFIXES) or name in NAMES or name.lower() in (*PROXIES, NO_PROXY)
