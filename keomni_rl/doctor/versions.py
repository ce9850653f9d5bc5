"""Installed packages against what the installed keomni-rl itself requires; nothing is imported."""

import platform
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution, version

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from keomni_rl.doctor.finding import Finding, failure, ok, warning

AREA = "versions"
NAME = "keomni-rl"
SET_UP = "run `bash scripts/setup.sh` in the checkout"
FLAVOURS = {"cpu": "a machine without GPUs", "gpu": "NVIDIA GPUs"}
"""Extras that bring a vLLM, and what each is built for."""


def check_versions(*, has_gpu: bool) -> Iterator[Finding]:
    """Python and every package.

    Args:
        has_gpu: whether an NVIDIA GPU is there, which asks for another build of vLLM.
    """
    try:
        ours = distribution(NAME)
    except PackageNotFoundError:
        yield failure(
            AREA, NAME, "not installed as a package, so its plugin of vLLM is not either", SET_UP
        )
        return
    yield ok(AREA, NAME, ours.version)
    yield check_python(ours, platform.python_version())
    yield from check_packages(ours)
    yield check_flavour(ours, has_gpu=has_gpu)


def check_python(ours: Distribution, running: str) -> Finding:
    """The running Python against ``requires-python``."""
    wanted = SpecifierSet(ours.metadata["Requires-Python"])
    if wanted.contains(running, prereleases=True):
        return ok(AREA, "python", running)
    return failure(
        AREA,
        "python",
        f"{running}, wanted {wanted}",
        f"make an environment of such a Python and {SET_UP}",
    )


def check_packages(ours: Distribution) -> Iterator[Finding]:
    """Every package that is needed on any machine: a line for each pinned one and each trouble."""
    fitting = 0
    for requirement in _requirements(ours, extra=""):
        installed = _installed(requirement.name)
        if installed is None or not requirement.specifier.contains(installed, prereleases=True):
            wanted = f"wanted {requirement.specifier or 'any version'}"
            yield failure(
                AREA,
                requirement.name,
                f"{installed}, {wanted}" if installed else f"not installed, {wanted}",
                f'{SET_UP}, or `pip install "{requirement}"`',
            )
        elif any(spec.operator == "==" for spec in requirement.specifier):
            yield ok(AREA, requirement.name, installed)
        else:
            fitting += 1
    yield ok(AREA, "other packages", f"{fitting} as required")


def check_flavour(ours: Distribution, *, has_gpu: bool) -> Finding:
    """Which vLLM is here: that for GPUs and that for CPUs are two packages of the same files."""
    flavours = {extra: _flavour(ours, extra) for extra in FLAVOURS}
    here = {extra: _installed(wanted.name) for extra, wanted in flavours.items()}
    installed = [extra for extra, found in here.items() if found]
    right = "gpu" if has_gpu else "cpu"
    reinstall = (
        f"`pip uninstall {' '.join(wanted.name for wanted in flavours.values())}`, then {SET_UP}"
    )
    if not installed:
        return failure(AREA, "vllm", f"not installed, wanted {flavours[right]}", SET_UP)
    if len(installed) > 1:
        names = " and ".join(wanted.name for wanted in flavours.values())
        return failure(
            AREA, "vllm", f"both {names} are installed, over each other's files", reinstall
        )
    (extra,) = installed
    wanted, found = flavours[extra], here[extra] or ""
    told = f"{wanted.name} {found}"
    if not wanted.specifier.contains(found, prereleases=True):
        return failure(AREA, "vllm", f"{told}, wanted {wanted.specifier}", SET_UP)
    if extra == right:
        return ok(AREA, "vllm", told)
    mismatch = f"{told} is built for {FLAVOURS[extra]}; this machine has "
    if has_gpu:
        return warning(AREA, "vllm", f"{mismatch}one, which is not used", reinstall)
    return failure(AREA, "vllm", f"{mismatch}none", reinstall)


def _flavour(ours: Distribution, extra: str) -> Requirement:
    common = {requirement.name for requirement in _requirements(ours, extra="")}
    (only,) = [r for r in _requirements(ours, extra=extra) if r.name not in common]
    return only


def _requirements(ours: Distribution, *, extra: str) -> list[Requirement]:
    """What is asked for on this machine, with the markers that brought it taken off."""
    found = [Requirement(line) for line in ours.requires or ()]
    asked = [r for r in found if r.marker is None or r.marker.evaluate({"extra": extra})]
    for requirement in asked:
        requirement.marker = None
    return asked


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
