"""Peak memory of a step at the real vocabulary, and how it grows with a row's tokens."""

import gc
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

from benchmarks.learner import NUM_THREADS, Padded
from benchmarks.process import in_fresh_process
from benchmarks.result import result
from benchmarks.workload import GROUP_SIZE, build_model, make_work

VOCABULARY = 152_064
NUM_GROUPS = 8
GOAL = 0.35
"""Of the padded step's peak, both over what the process holds between steps."""
LENGTHS_S = (5.0, 10.0, 20.0, 30.0)


def memory(repetitions: int) -> dict[str, Any]:  # noqa: ARG001
    """Peak of forward and backward over 8 groups, one at a time, above what lies there anyway.

    Padded is a row for each completion with all its logits in float32. A peak does not vary, so it
    is taken once.
    """
    with tempfile.TemporaryDirectory() as folder:
        model = build_model(Path(folder) / "model", vocabulary=VOCABULARY)
        ours = in_fresh_process(peak_shared, model, [10.0] * NUM_GROUPS)
        padded = in_fresh_process(peak_padded, model, [10.0] * NUM_GROUPS)
        growth = [in_fresh_process(peak_shared, model, [seconds]) for seconds in LENGTHS_S]
    tokens, peaks = ([case[key] for case in growth] for key in ("tokens", "peak_bytes"))
    slope, fixed = np.polyfit(tokens, peaks, 1)
    off_line = float(np.max(np.abs(np.polyval([slope, fixed], tokens) / peaks - 1)))
    share = ours["peak_bytes"] / padded["peak_bytes"]
    return result(
        "memory",
        "the goal's share of the padded peak over ours",
        GOAL / share,
        1.0,
        f"ours {ours['peak_bytes'] / 2**30:.2f} GiB, {share:.2f} of padded "
        f"{padded['peak_bytes'] / 2**30:.2f} GiB (goal {GOAL}); a row of {tokens[0]} to "
        f"{tokens[-1]} tokens: {slope / 2**20:.2f} MiB a token and {fixed / 2**30:.2f} GiB, "
        f"{off_line:.0%} off a line at most",
        ours=ours,
        padded=padded,
        growth=growth,
    )


def peak_shared(model: Path, seconds: list[float]) -> dict[str, float]:
    """Peak of the learner's passes; runs in a process of its own."""
    from keomni_rl.engines.rows import MicroBatch
    from keomni_rl.models.family import find_family
    from keomni_rl.models.shared_prefix import Policy

    torch.set_num_threads(NUM_THREADS)
    family = find_family(model)
    policy = Policy(family.load(model, torch.float32), family)
    works = make_work(model, seconds)

    def passes() -> None:
        for work in works:
            batch = MicroBatch.of([work.row], "cpu")
            (policy(batch.rows) * batch.weights_N).sum().backward()

    return _peak(passes) | {"tokens": works[0].tokens_shared}


def peak_padded(model: Path, seconds: list[float]) -> dict[str, float]:
    """Peak of the same over padded rows; runs in a process of its own."""
    padded = Padded(model, "float32")
    works = make_work(model, seconds)

    def passes() -> None:
        for work in works:
            (padded(work).sum() / GROUP_SIZE).backward()

    return _peak(passes) | {"tokens": works[0].tokens_padded}


def _peak(passes: Callable[[], None]) -> dict[str, float]:
    """Bytes beyond those that weights and gradients take, which a first round has made."""
    passes()
    gc.collect()
    before = psutil.Process().memory_info().rss
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark begins anew
    passes()
    status = Path("/proc/self/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return {"peak_bytes": int(line.split()[1]) * 1024 - before, "before_bytes": before}
