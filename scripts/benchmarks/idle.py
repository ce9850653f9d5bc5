"""Where time goes: what share of it each role works, and what the driver takes for itself."""

import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from benchmarks.result import result
from benchmarks.training import COLD_STEPS, steps_of, train, words

GOAL = 0.05
"""Of a step, for the driver."""
ROLES = ("Rollout", "Learner", "Reference", "Reward", "Audio")
NUM_STEPS = 6


def idle(repetitions: int) -> dict[str, Any]:  # noqa: ARG001
    """A synchronous and an asynchronous training, one core a role, watched from outside.

    A role works for as long as its processes (its engine's too) have a core; the rest it is idle.
    The driver's share is the processor time of its process over the time of all steps.
    """
    modes = {}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name, max_staleness in (("synchronous", 0), ("asynchronous", 1)):
            modes[name] = _watched(root, root / name, max_staleness)
    worst = max(mode["driver"] for mode in modes.values())
    details = "; ".join(
        f"{name}: driver {mode['driver']:.1%} of {mode['step_s']:.2f} s a step, idle "
        + ", ".join(f"{role.lower()} {mode[role]:.0%}" for role in ROLES)
        for name, mode in modes.items()
    )
    return result("idle", "the driver's goal over its share", GOAL / worst, 1.0, details, **modes)


def _watched(root: Path, run_dir: Path, max_staleness: int) -> dict[str, float]:
    snapshots: list[tuple[float, dict[str, float]]] = []

    def watch(driver: "subprocess.Popen[bytes]") -> None:
        for step in (COLD_STEPS, COLD_STEPS + NUM_STEPS):
            while len(steps_of(run_dir, cold=0)) < step and driver.poll() is None:
                time.sleep(0.05)
            snapshots.append((time.monotonic(), dict(_used(driver.pid))))

    train(
        words(
            root,
            run_dir,
            f"train.max_steps={COLD_STEPS + NUM_STEPS + 1}",  # so that none ends meanwhile
            f"train.max_staleness={max_staleness}",
            *(f"placement.{role}.threads=1" for role in ("rollout", "learner", "reference")),
        ),
        watch,
    )
    (began, before), (ended, after) = snapshots
    wall = ended - began
    idle_of = {role: 1 - (after[role] - before[role]) / wall for role in ROLES}
    return {
        "driver": (after["driver"] - before["driver"]) / wall,
        "step_s": statistics.median(line["time/step_s"] for line in steps_of(run_dir)),
        **idle_of,
    }


def _used(driver: int) -> Iterator[tuple[str, float]]:
    """Seconds on a core so far: the driver's, and those of each role's actors and engines."""
    process = psutil.Process(driver)
    yield "driver", sum(process.cpu_times()[:2])
    descendants = process.children(recursive=True)
    for role in ROLES:
        actors = [p for p in descendants if p.name().startswith(f"ray::{role}Actor"[:15])]
        family = {one for actor in actors for one in (actor, *actor.children(recursive=True))}
        yield role, sum(sum(one.cpu_times()[:2]) for one in family)
