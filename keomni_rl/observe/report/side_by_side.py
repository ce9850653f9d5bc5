"""The page of several runs side by side: table of methods, settings that differ, common curves."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from keomni_rl.observe.report.curves import evaluation_series, reward_parts
from keomni_rl.observe.report.evaluation import distinct_names
from keomni_rl.observe.report.evaluations import EvaluationRun
from keomni_rl.observe.report.figures import (
    Drawn,
    line_figure,
    metric_series,
    numbered,
    steps_per_point,
)
from keomni_rl.observe.report.folders import TrainingRun
from keomni_rl.observe.report.methods import Row, differences, table_rows
from keomni_rl.observe.report.page import Page
from keomni_rl.observe.report.sounds import Sounds

CURVES = (
    ("Reward", "mean over completions", "reward/mean"),
    ("Spread of rewards", "within a group", "reward/std"),
    ("Groups of equal rewards", "share", "rollout/equal_reward_share"),
    ("Loss of written tokens", "nats a token", "loss/token_nll_mean"),
    ("Length of completions", "tokens, mean", "rollout/completion_tokens_mean"),
    ("KL to the reference", "nats a token", "kl/ref_mean"),
    ("Rollout against learner", "log-probability difference, mean", "kl/rollout_policy_mean"),
    ("Completions cut off", "share", "rollout/truncated_share"),
    ("Staleness", "policy versions behind, mean", "staleness/mean"),
    ("Gradient", "norm before clipping", "learner/grad_norm"),
    ("Throughput", "tokens a second", "rollout/tokens_per_s"),
    ("Time of a step", "seconds", "time/step_s"),
    ("Learner idle, waiting for groups", "seconds a step", "time/wait_s"),
)


def side_by_side_page(runs: Sequence[TrainingRun | EvaluationRun]) -> Page:
    """Show runs and evaluations as the seeds' papers show methods."""
    named = list(zip(distinct_names(runs), runs, strict=True))
    rows = table_rows(named)
    trained = [(name, run) for name, run in named if isinstance(run, TrainingRun)]
    tasks = dict.fromkeys(task for r in rows if r.summary for task in r.summary.by_task)
    return Page(
        template="side_by_side.html.j2",
        title=", ".join(name for name, _ in named),
        kind=f"{len(runs)} runs side by side",
        settings=[],
        figures=list(_figures(trained)),
        sounds=Sounds(),
        notes=[*_version_notes(rows), *(f"{n}: {note}" for n, r in named for note in r.notes)],
        content={
            "rows": rows,
            "trained": [name for name, _ in trained],
            "differing": differing_settings([run for _, run in trained]),
            "steps_per_point": steps_per_point(
                max((len(r.metrics) for _, r in trained), default=0)
            ),
            "versions": sorted({r.summary.mmau_version for r in rows if r.summary}),
            "tasks": list(tasks),
            "differences": list(differences(rows)),
        },
    )


def differing_settings(runs: Sequence[TrainingRun]) -> dict[str, list[str]]:
    """Dotted name -> its value in each run, of the settings that are not the same in all.

    Where a run lies is no difference. None of them where a run's settings are not known.
    """
    configs = [run.config for run in runs if run.config]
    if len(configs) < max(2, len(runs)):
        return {}
    flat = [dict(_flat(config.model_dump(mode="json", exclude={"run_dir"}))) for config in configs]
    names = dict.fromkeys(name for settings in flat for name in settings)
    values = {name: [_value(settings.get(name)) for settings in flat] for name in names}
    return {name: found for name, found in values.items() if len(set(found)) > 1}


def _flat(section: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in section.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _version_notes(rows: Sequence[Row]) -> list[str]:
    """A score means nothing beside one on other questions."""
    asked: dict[tuple[str, int], list[str]] = {}
    for row in rows:
        if row.summary:
            asked.setdefault((row.summary.mmau_version, row.summary.n), []).append(row.name)
    if len(asked) < 2:
        return []
    parts = [f"{v}, {n} questions: {', '.join(names)}" for (v, n), names in asked.items()]
    return [
        "These rows were not put the same questions, so do not compare their scores. "
        f"MMAU {'; '.join(parts)}."
    ]


def _figures(trained: Sequence[tuple[str, TrainingRun]]) -> Iterator[Drawn]:
    """One line a run, in the run's colour everywhere."""
    evaluated = [evaluation_series(run.evaluations, name) for name, run in trained]
    if found := numbered(evaluated):
        yield line_figure(
            "Evaluation, 95% intervals", found, "percent", "policy version", has_legend=True
        )
    parts = dict(part for _, run in trained for part in reward_parts(run.metrics).items())
    rewards = [(f"Reward: {name}", "mean over completions", m) for m, name in parts.items()]
    for title, unit, metric in (CURVES[0], *rewards, *CURVES[1:]):
        series = [metric_series(run.metrics, metric, name) for name, run in trained]
        if found := numbered(series):
            yield line_figure(title, found, unit, has_legend=True)
