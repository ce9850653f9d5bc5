"""Rollouts and learner at the same time: what an asynchronous step takes over the longer role.

One core samples and compares with the reference, one learns adapters, which makes the two about
equally long. The same training runs synchronously, which gives each role's own time, and one
version stale.
"""

import statistics
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.result import result
from benchmarks.training import COLD_STEPS, steps_of, train, words
from benchmarks.workload import GROUP_SIZE

GOAL = 1 / 1.10
"""The longer role over an asynchronous step."""
GROUPS_PER_STEP = 4
STEPS_OF_A_ROUND = 5


def overlap(repetitions: int) -> dict[str, Any]:
    """Median step of an asynchronous run over the longer role of a synchronous one, in turn."""
    steps: dict[int, list[dict[str, float]]] = {0: [], 1: []}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for number in range(max(1, repetitions // 3)):
            for max_staleness, found in steps.items():
                found += _steps(root, root / f"{max_staleness}-{number}", max_staleness)
    # What a synchronous step waits for is the rollouts' time.
    rollout_s = _median(steps[0], "time/wait_s")
    learner_s = _median(steps[0], "time/learner_s", "time/publish_s")
    step_s = _median(steps[1], "time/step_s")
    longer_s = max(rollout_s, learner_s)
    return result(
        "overlap",
        "a step one version stale",
        longer_s / step_s,
        GOAL,
        f"{step_s:.2f} s a step, {step_s / longer_s:.2f} times the longer role; of a synchronous "
        f"one {rollout_s:.2f} s are rollouts and reference, {learner_s:.2f} s learner and transfer",
        steps=steps,
    )


def _steps(root: Path, run_dir: Path, max_staleness: int) -> list[dict[str, float]]:
    train(
        words(
            root,
            run_dir,
            f"train.max_steps={COLD_STEPS + STEPS_OF_A_ROUND}",
            f"train.max_staleness={max_staleness}",
            f"train.groups_per_step={GROUPS_PER_STEP}",
            f"engine.max_num_seqs={GROUPS_PER_STEP * GROUP_SIZE}",
            "learner.trained=lora",
            *(f"placement.{role}.threads=1" for role in ("rollout", "learner", "reference")),
        )
    )
    return steps_of(run_dir)


def _median(steps: list[dict[str, float]], *names: str) -> float:
    return statistics.median(sum(step[name] for name in names) for step in steps)
