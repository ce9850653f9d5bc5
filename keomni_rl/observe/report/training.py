"""The page of one training run: results, curves and sampled rollouts with their sound."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from statistics import fmean
from typing import Any

from keomni_rl.config.describe import describe_run
from keomni_rl.observe.report.curves import training_figures
from keomni_rl.observe.report.figures import steps_per_point
from keomni_rl.observe.report.folders import TrainingRun
from keomni_rl.observe.report.page import Page
from keomni_rl.observe.report.questions import outcome_counts
from keomni_rl.observe.report.rollouts import (
    GROUPS_PER_PACK,
    OUTCOMES,
    embed_clips,
    group_rows,
    packed_texts,
    read_rollouts,
)
from keomni_rl.observe.report.sounds import Embedding, sound_notes

RECENT_STEPS = 20
"""Whose mean time is a run's pace."""


def training_page(run: TrainingRun, embedding: Embedding) -> Page:
    """Show a run, finished or not."""
    kept = read_rollouts(run.folder)
    sounds = embed_clips(kept.groups, embedding)
    rows = list(group_rows(kept.groups, sounds, embedding.audio))
    return Page(
        template="training.html.j2",
        title=run.name,
        kind="training run",
        settings=describe_run(run.config) if run.config else [],
        figures=training_figures(run),
        sounds=sounds,
        notes=[
            *_progress(run),
            *run.notes,
            *kept.notes,
            *(sound_notes(sounds, embedding) if rows else []),
        ],
        content={
            "run": run,
            "first": run.evaluations[0] if run.evaluations else None,
            "last": run.evaluations[-1] if len(run.evaluations) > 1 else None,
            "idle_share": _idle_share(run.metrics),
            "steps_per_point": steps_per_point(len(run.metrics)),
            "rows": rows,
            "packs": list(packed_texts(kept.groups)),
            "groups_per_pack": GROUPS_PER_PACK,
            "datasets": Counter(row["dataset"] for row in rows),
            "outcomes": outcome_counts((row["outcomes"] for row in rows), OUTCOMES),
            "is_supervised": run.config is not None and run.config.algo.kind == "supervised",
        },
    )


def _idle_share(metrics: Sequence[Mapping[str, Any]]) -> float | None:
    """Of the steps' time, that the learner waited for groups."""
    timed = [line for line in metrics if "time/wait_s" in line and line.get("time/step_s")]
    if not timed:
        return None
    return sum(m["time/wait_s"] for m in timed) / sum(m["time/step_s"] for m in timed)


def _progress(run: TrainingRun) -> list[str]:
    """How far a run is that has not come to its end."""
    if run.config is None or run.is_ended:
        return []
    steps = run.config.train.max_steps
    if not run.metrics:
        return [f"This run has not ended a step yet, of {steps:,}."]
    last = run.metrics[-1]
    when = datetime.fromtimestamp(last["time"], UTC)
    told = f"This run has not come to its end: step {last['step']:,} of {steps:,}, which ended "
    told += f"at {when:%Y-%m-%d %H:%M} UTC"
    recent = [line["time/step_s"] for line in run.metrics[-RECENT_STEPS:] if "time/step_s" in line]
    if recent and last["step"] < steps:
        left_s = fmean(recent) * (steps - last["step"])
        told += f"; at the pace of its last steps {_duration(left_s)} are left"
    return [f"{told}."]


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
