"""From the command to the first training step, on a machine that has done it before."""

import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.result import result
from benchmarks.training import steps_of, train, words

GOAL_S = 45.0


def start(repetitions: int) -> dict[str, Any]:
    """Seconds from ``keomni-rl train`` to its first step's metrics, without that step's own time.

    The first start warms the disk's cache and does not count.
    """
    from keomni_rl.observe.sinks import read_lines

    starts = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for number in range(max(2, repetitions // 2 + 1)):
            run_dir = root / f"run-{number}"
            began = [time.time()]

            def watch(_: "subprocess.Popen[bytes]", began: list[float] = began) -> None:
                began[0] = time.time()

            train(words(root, run_dir, "train.max_steps=1", seconds=1.0), watch)
            [line] = steps_of(run_dir, cold=0)
            events = {e["event"]: e for e in read_lines(run_dir / "events.jsonl")}
            ready = events["ready"]
            parts = {"command to run": events["start"]["time"] - began[0]}
            parts |= {f"{role} ready": seconds for role, seconds in ready["seconds"].items()}
            parts["all ready"] = ready["time"] - events["start"]["time"]
            total = line["time"] - began[0] - line["time/step_s"]
            starts.append({"total_s": total, "parts_s": parts})
    warm = starts[1:]
    total = statistics.median(one["total_s"] for one in warm)
    shown = ", ".join(f"{part} {seconds:.1f} s" for part, seconds in warm[-1]["parts_s"].items())
    return result(
        "start",
        "the goal over seconds to the first step",
        GOAL_S / total,
        1.0,
        f"{total:.1f} s (goal {GOAL_S:.0f} s; cold {starts[0]['total_s']:.1f} s): {shown}",
        starts=starts,
    )
