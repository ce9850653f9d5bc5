"""A long run whose processes are killed and stopped at random: ``scripts/soak.sh``.

Prints how many faults of each kind were injected and what became of every group; ends with code 1
if a group, a step or an answer was lost, or if nothing was learnt. Run again with the same ``--out``
it goes on with the run that is there.
"""

import argparse
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.table import Table

from keomni_rl.driver.evaluation import read_evaluations
from keomni_rl.observe.sinks import read_lines
from tests.faults.injector import Driver, num_unaccounted

FAULTS = {
    "rollout actor killed": ("Rollout", "actors", signal.SIGKILL),
    "rollout engine killed": ("Rollout", "engines", signal.SIGKILL),
    "rollout actor stopped": ("Rollout", "actors", signal.SIGSTOP),
    "rollout engine stopped": ("Rollout", "engines", signal.SIGSTOP),
    "evaluator actor killed": ("Evaluator", "actors", signal.SIGKILL),
    "evaluator engine killed": ("Evaluator", "engines", signal.SIGKILL),
    "reference actor killed": ("Reference", "actors", signal.SIGKILL),
    "reward actor killed": ("Reward", "actors", signal.SIGKILL),
    "audio actor killed": ("Audio", "actors", signal.SIGKILL),
    "learner rank killed": ("Learner", "actors", signal.SIGKILL),
}
LEARNER_SHARE = 0.05
"""Of faults that hit the learner, each of which costs the steps since the last checkpoint."""
BAR = 0.85
"""Share of held-out questions that the demo's training ends above."""
DRIVER_KILLS = {"driver killed": signal.SIGKILL, "driver told to leave": signal.SIGTERM}


class Soak:
    """One run under fire.

    Args:
        command: that trains, without run folder.
        resume: the same, going on.
        run_dir: the run's folder.
        every_s: mean seconds between two faults.
        seed: of which fault comes when.
    """

    def __init__(
        self, command: list[str], resume: list[str], run_dir: Path, every_s: float, seed: int
    ) -> None:
        self._command, self._resume, self._run_dir = command, resume, run_dir
        self._every_s = every_s
        self._random = random.Random(seed)

    @property
    def injected(self) -> Counter[str]:
        """Faults of each kind, those of an earlier part of the run included."""
        return Counter(line["fault"] for line in read_lines(self._injections))

    @property
    def _injections(self) -> Path:
        return self._run_dir.parent / "injected.jsonl"

    def _note(self, fault: str) -> None:
        with self._injections.open("a") as file:
            file.write(json.dumps({"time": time.time(), "fault": fault}) + "\n")

    def run(self, log: Path) -> int:
        """Train to the end, whatever happens on the way; returns the last exit code."""
        is_begun = (self._run_dir / "config.yaml").exists()
        command = self._resume if is_begun else self._command
        while True:
            driver = Driver(command, self._run_dir, log)
            told = self._torment(driver)
            code = driver.process.wait()
            driver.wait_for_end()
            if not told:
                return code
            self._note(told)
            command = self._resume

    def _torment(self, driver: Driver) -> str | None:
        """Inject faults until the driver ends; says which fault ended it, if one did."""
        while not driver.metrics() and driver.process.poll() is None:
            time.sleep(0.5)
        while True:
            pause_s = self._random.expovariate(1 / self._every_s)
            deadline = time.monotonic() + pause_s
            while time.monotonic() < deadline:
                if driver.process.poll() is not None:
                    return None
                time.sleep(0.1)
            if self._random.random() < LEARNER_SHARE:
                told = self._random.choice(list(DRIVER_KILLS))
                driver.process.send_signal(DRIVER_KILLS[told])
                return told
            self._inject(driver)

    def _inject(self, driver: Driver) -> None:
        fault = self._random.choice(list(FAULTS))
        if fault.startswith("learner") and self._random.random() > LEARNER_SHARE * len(FAULTS):
            return
        role, part, signal_number = FAULTS[fault]
        there = getattr(driver, part)(role)
        if there:
            os.kill(self._random.choice(there), signal_number)
            self._note(fault)


def troubles(run_dir: Path, steps: int) -> list[str]:
    """What is not as it must be after a run, whatever it went through."""
    found = []
    metrics = read_lines(run_dir / "metrics.jsonl")
    if [m["step"] for m in metrics] != list(range(1, steps + 1)):
        found.append("steps are missing or doubled")
    if any(m["staleness/max"] != 0 for m in metrics):
        found.append("a group was older than allowed")
    if (worst := max(m["kl/rollout_policy_max"] for m in metrics)) > 1e-3:
        found.append(f"what was sampled is not what was scored: {worst:g}")
    for event in accounts(run_dir):
        if number := num_unaccounted(event):
            found.append(f"{number} groups are lost or doubled")
    for summary in read_evaluations(run_dir):
        if summary.missing or summary.failed:
            found.append(f"evaluation of policy {summary.policy_version}: answers are missing")
    return found


def has_learnt(run_dir: Path) -> bool:
    """Whether the last evaluation is above the bar."""
    *_, last = read_evaluations(run_dir)
    return last.accuracy is not None and last.accuracy >= BAR


def accounts(run_dir: Path) -> list[dict]:
    """What each driver that could say so said of its groups."""
    return [event for event in read_lines(run_dir / "events.jsonl") if "unfinished" in event]


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/soak"))
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--every-s", type=float, default=40.0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    faulty = options.out / "run"
    options.out.mkdir(parents=True, exist_ok=True)
    base = [sys.executable, "-m", "keomni_rl.cli"]
    overrides = [
        f"train.max_steps={options.steps}",
        "checkpoint.every_steps=5",
        "checkpoint.keep=3",
        "faults.hang_s=30",
        "faults.learner_restarts=1000",
    ]
    soak = Soak(
        [*base, "demo", "--out", str(faulty), *overrides],
        [*base, "train", "--resume", str(faulty)],
        faulty,
        options.every_s,
        options.seed,
    )
    code = soak.run(options.out / "log")
    report(soak, faulty, code, options.steps)


def report(soak: Soak, run_dir: Path, code: int, steps: int) -> None:
    """Print the account and end with 1 if anything is wrong."""
    console = Console()
    table = Table("fault", "injected", title=f"{sum(soak.injected.values())} faults")
    for fault, number in sorted(soak.injected.items()):
        table.add_row(fault, str(number))
    console.print(table)
    for event in accounts(run_dir):
        console.print_json(data={k: v for k, v in event.items() if k != "time"})
    evaluations = read_evaluations(run_dir)
    for summary in evaluations:
        console.print(f"policy {summary.policy_version}: {summary.accuracy}, n {summary.n}")
    found = troubles(run_dir, steps)
    if not has_learnt(run_dir):
        found.append(f"the last policy is not above {BAR}")
    if code:
        found.append(f"the run ended with code {code}")
    console.print("\n".join(found) or "nothing lost, nothing doubled")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
