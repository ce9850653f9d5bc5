"""Rollouts and learner at the same time: what an asynchronous step takes over the longer role.

One core samples and one learns. The same training runs synchronously, which gives each role's own
time, and one version stale. Groups are as large as makes the two roles about equally long.
"""

import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.result import result

GOAL = 1 / 1.10
"""The longer role over an asynchronous step."""
COLD_STEPS = 3
NUM_STEPS = 12


def overlap(repetitions: int) -> dict[str, Any]:
    """Median step of an asynchronous run over the longer role of a synchronous one, in turn."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        inputs = _prepare(root)
        rounds = []
        for number in range(max(1, repetitions // 2)):
            synchronous = _train(root / f"sync-{number}", inputs, max_staleness=0)
            stale = _train(root / f"stale-{number}", inputs, max_staleness=1)
            rounds.append(_round(synchronous, stale))
    medians = {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}
    return result(
        "overlap",
        "a step one version stale",
        medians["longer_s"] / medians["step_s"],
        GOAL,
        f"{medians['step_s']:.2f} s a step; of a synchronous one's {medians['sum_s']:.2f} s "
        f"{medians['longer_s']:.2f} s are the longer role and {medians['shorter_s']:.2f} s the "
        f"shorter",
        rounds=rounds,
    )


def _prepare(root: Path) -> list[str]:
    from rich.console import Console

    from keomni_rl.driver.demo import DemoSpec, prepare_demo

    spec = DemoSpec(num_train=200, num_heldout=8, warmup_steps=60)
    files, model = prepare_demo(spec, root / "inputs", Console(quiet=True))
    return [f"model.path={model}", f"data.train=[{files.train}]"]


def _train(run_dir: Path, inputs: list[str], *, max_staleness: int) -> list[dict[str, float]]:
    from keomni_rl.observe.sinks import read_lines

    words = [
        *(sys.executable, "-m", "keomni_rl.cli", "train"),
        str(Path(__file__).parents[2] / "configs" / "demo.yaml"),
        f"run_dir={run_dir}",
        *inputs,
        "evaluation=null",
        "algo.beta=0",
        "checkpoint.every_steps=1000",
        f"train.max_steps={COLD_STEPS + NUM_STEPS}",
        f"train.max_staleness={max_staleness}",
        "placement.rollout.threads=1",
        "placement.learner.threads=1",
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stdout[-2000:] + done.stderr[-2000:])
    return read_lines(run_dir / "metrics.jsonl")[COLD_STEPS:]


def _round(synchronous: list[dict[str, float]], stale: list[dict[str, float]]) -> dict[str, float]:
    """Medians over steps; what a synchronous step waits for is the rollouts' time."""

    def median(lines: list[dict[str, float]], *names: str) -> float:
        return statistics.median(sum(line[name] for name in names) for line in lines)

    rollout_s = median(synchronous, "time/wait_s")
    learner_s = median(synchronous, "time/learner_s", "time/publish_s")
    return {
        "step_s": median(stale, "time/step_s"),
        "longer_s": max(rollout_s, learner_s),
        "shorter_s": min(rollout_s, learner_s),
        "sum_s": rollout_s + learner_s,
    }
