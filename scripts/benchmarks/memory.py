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
from benchmarks.workload import GROUP_SIZE, Work, build_model, make_work

VOCABULARY = 152_064
CLIPS = [10.0] * 8
"""Seconds of each group's."""
GOAL = 0.35
"""Of the padded step's peak, both over what the process holds between steps."""
LENGTHS = (5.0, 10.0, 20.0, 30.0)
"""Seconds of the clips whose rows show how the peak grows."""


def memory(repetitions: int) -> dict[str, Any]:  # noqa: ARG001
    """Peak of forward and backward over 8 groups, one at a time, above what lies there anyway.

    Padded is a row for each completion with float32 logits of every position, as the seeds compute
    them; those of the completions alone are told beside it. A peak does not vary, so it is taken
    once.
    """
    with tempfile.TemporaryDirectory() as folder:
        model = build_model(Path(folder) / "model", vocabulary=VOCABULARY)
        ours, *growth = in_fresh_process(peaks_shared, model)
        padded, sliced = in_fresh_process(peaks_padded, model)
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
        f"{padded['peak_bytes'] / 2**30:.2f} GiB (goal {GOAL}; with the completions' logits alone "
        f"{sliced['peak_bytes'] / 2**30:.2f} GiB); rows of {tokens[0]} to {tokens[-1]} tokens: "
        f"{slope / 2**20:.2f} MiB a token and {fixed / 2**30:.2f} GiB, {off_line:.0%} off a line",
        ours=ours,
        padded=padded,
        padded_sliced=sliced,
        growth=growth,
    )


def peaks_shared(model: Path) -> list[dict[str, float]]:
    """Peak of the learner's passes over 8 groups, then over one of each length."""
    from keomni_rl.engines.rows import MicroBatch
    from keomni_rl.models.family import find_family
    from keomni_rl.models.shared_prefix import Policy

    torch.set_num_threads(NUM_THREADS)
    family = find_family(model)
    policy = Policy(family.load(model, torch.float32), family)

    def backward(work: Work) -> None:
        batch = MicroBatch.of([work.row], "cpu")
        (policy(batch.rows) * batch.weights_N).sum().backward()

    return [_peak(backward, make_work(model, clips)) for clips in (CLIPS, *([s] for s in LENGTHS))]


def peaks_padded(model: Path) -> list[dict[str, float]]:
    """Peak of the same over padded rows: with all logits, then without."""
    padded = Padded(model, "float32")

    def backward(work: Work) -> None:
        (padded(work).sum() / GROUP_SIZE).backward()

    sliced = _peak(backward, make_work(model, CLIPS[:1]))
    padded.takes_all_logits = True
    # One group after the other: more than two take longer and have the same peak.
    return [_peak(backward, make_work(model, CLIPS[:2])), sliced]


def _peak(backward: Callable[[Work], None], works: list[Work]) -> dict[str, float]:
    """Bytes beyond those that weights and gradients take, which a first pass has made."""
    backward(works[0])
    gc.collect()
    before = psutil.Process().memory_info().rss
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark begins anew
    for work in works:
        backward(work)
    status = Path("/proc/self/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmHWM")]
    peak = int(line.split()[1]) * 1024 - before
    return {"tokens": works[0].tokens_shared, "peak_bytes": peak, "before_bytes": before}
