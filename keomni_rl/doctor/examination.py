"""Everything that doctor looks at, several probes at a time, and its report free of secrets."""

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from keomni_rl import __version__
from keomni_rl.doctor.environment import check_environment
from keomni_rl.doctor.finding import Diagnosis, Finding, worst
from keomni_rl.doctor.machine import check_machine, has_nvidia
from keomni_rl.doctor.probe import Probe, run_probe
from keomni_rl.doctor.scrub import Scrubber
from keomni_rl.doctor.versions import check_versions

OnProgress = Callable[[float, str], None]
"""Told what share is done and what is still looked at."""
AREAS = ("versions", "machine", "gpus", "engines", "network", "ray", "places", "environment")
"""In the order in which they are shown."""
MOST_AT_ONCE = 4
AGAIN = "run `bash scripts/setup.sh` in the checkout"


@dataclass(frozen=True)
class Asked:
    """What the examination is of."""

    address: str | None
    """Of a Ray cluster; None starts Ray here."""
    run_dir: str
    """Path or URL of a run's folder, there or not."""


def probes(asked: Asked, *, has_gpu: bool) -> tuple[Probe, ...]:
    """All of them, those that take longest first."""
    short = "look whether the disk or the network that it asks for hangs"
    return (
        Probe(
            "vllm_engine",
            "engines",
            "vllm",
            150,
            f"{AGAIN}; a crash by an illegal instruction says that this vLLM is built for another "
            "processor, a first import from a cold disk may take minutes",
        ),
        Probe(
            "ray_cluster",
            "ray",
            "cluster" if asked.address else "own cluster",
            75,
            "see that the cluster answers (`ray status` on its head), that the token is set "
            "(RAY_AUTH_MODE=token) and that nodes reach each other"
            if asked.address
            else "look into the newest folder of /tmp/ray for what Ray says, and at the lines of "
            "places and limits",
            {"address": asked.address},
        ),
        Probe(
            "deepspeed_operators",
            "engines",
            "deepspeed's operators",
            180,
            "see the lines of compiler, ninja and Python's headers; if nothing is being compiled, "
            "delete torch_extensions in the environment, where a killed compilation leaves a lock",
        ),
        Probe("torch_companions", "engines", "torchvision", 90, AGAIN),
        Probe(
            "collectives",
            "network",
            "collectives",
            75,
            "set NCCL_DEBUG=INFO (TORCH_CPP_LOG_LEVEL=INFO for gloo) and look at the interface; "
            "NCCL_SOCKET_IFNAME and GLOO_SOCKET_IFNAME choose another",
            {"in_cluster": asked.address is not None},
        ),
        Probe(
            "torch_build",
            "gpus" if has_gpu else "engines",
            "torch",
            75,
            f"{AGAIN}; with GPUs see first that `nvidia-smi` answers",
            {"has_gpu": has_gpu},
        ),
        Probe(
            "sound_files",
            "engines",
            "sound",
            45,
            "`pip install --force-reinstall soundfile`",
        ),
        Probe("places", "places", "places", 45, short),
        Probe("run_folder", "places", "run folder", 45, short, {"run_dir": asked.run_dir}),
        Probe("loopback", "network", "ports", 30, short),
    )


def examine(asked: Asked, on_progress: OnProgress) -> Diagnosis:
    """Look at everything.

    Args:
        asked: of what.
        on_progress: told whenever a look is done.
    """
    begun, begun_at = time.monotonic(), time.time()
    has_gpu = has_nvidia()
    at_once = chain(
        check_versions(has_gpu=has_gpu),
        check_machine(needs_compiler=not has_gpu),
        check_environment(os.environ, has_gpu=has_gpu),
    )
    found = [*at_once, *asyncio.run(_run(probes(asked, has_gpu=has_gpu), on_progress))]
    scrubber = Scrubber(os.environ, Path.home())
    findings = tuple(_without_secrets(_in_order(found), scrubber))
    return Diagnosis(
        keomni_rl=__version__,
        time=begun_at,
        seconds=round(time.monotonic() - begun, 1),
        status=worst(findings),
        findings=findings,
    )


async def _run(probes: tuple[Probe, ...], on_progress: OnProgress) -> list[Finding]:
    turns = asyncio.Semaphore(min(MOST_AT_ONCE, max(2, os.cpu_count() or 1)))
    left = list(probes)
    total = sum(map(_weight, probes))

    async def run(probe: Probe) -> list[Finding]:
        async with turns:
            findings = await run_probe(probe)
        left.remove(probe)
        on_progress(1 - sum(map(_weight, left)) / total, ", ".join(p.name for p in left[:3]))
        return findings

    return list(chain.from_iterable(await asyncio.gather(*map(run, probes))))


def _weight(probe: Probe) -> float:
    """What a probe may take tells roughly what part of the whole it is."""
    return probe.limit_s


def _in_order(findings: list[Finding]) -> list[Finding]:
    """By area, and once what two probes have found."""
    return sorted(dict.fromkeys(findings), key=lambda finding: AREAS.index(finding.area))


def _without_secrets(findings: list[Finding], scrubber: Scrubber) -> Iterator[Finding]:
    for finding in findings:
        yield Finding.model_validate(scrubber.tree(finding.model_dump(mode="json")))
