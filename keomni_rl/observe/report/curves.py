"""Curves of a training run over its steps: what is drawn, in what unit, under what name."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from keomni_rl.evaluation.summary import Summary
from keomni_rl.observe.report.figures import (
    Drawn,
    Mark,
    Series,
    line_figure,
    metric_series,
    numbered,
    percent,
    percent_interval,
    stacked_figure,
)
from keomni_rl.observe.report.folders import TrainingRun

CURVES: tuple[tuple[str, str, Mapping[str, str]], ...] = (
    (
        "Reward",
        "mean over completions",
        {"reward/mean": "total", "reward/std": "spread within a group"},
    ),
    ("Loss", "nats a token", {"loss/token_nll_mean": "of the written tokens"}),
    (
        "Completions",
        "tokens",
        {
            "rollout/completion_tokens_mean": "mean length",
            "rollout/completion_tokens_max": "longest",
        },
    ),
    ("KL to the reference", "nats a token", {"kl/ref_mean": "k3"}),
    (
        "Rollout against learner, mean over tokens",
        "log-probability difference",
        {"kl/rollout_policy_mean": "mean"},
    ),
    (
        "Rollout against learner, largest",
        "log-probability difference",
        {"kl/rollout_policy_max": "largest"},
    ),
    (
        "Groups",
        "share",
        {
            "rollout/equal_reward_share": "equal rewards",
            "rollout/truncated_share": "cut off",
            "rollout/think_over_limit_share": "think over the limit",
        },
    ),
    ("Staleness", "policy versions behind", {"staleness/mean": "mean", "staleness/max": "largest"}),
    ("Gradient", "norm", {"learner/grad_norm": "before clipping"}),
    ("Throughput", "tokens a second", {"rollout/tokens_per_s": "whole system"}),
)
TIMES = (
    (
        "Time of a step: the learner",
        {
            "time/learner_s": "at work",
            "time/wait_s": "idle, waiting for groups",
            "time/publish_s": "publishing weights",
            "time/rest_s": "checkpoints and evaluation starts",
        },
    ),
    (
        "Time of a group, mean",
        {
            "time/group_rollout_s": "rollout: waiting and sampling",
            "time/group_score_s": "reward and reference",
        },
    ),
)
"""What a step, and a group on its way to it, take; the second goes on beside the first."""


def training_figures(run: TrainingRun) -> list[Drawn]:
    """Curves of one run, with a mark at every policy that was evaluated."""
    figures, marks = [], _marks(run.evaluations)
    accuracy = evaluation_series(run.evaluations, "accuracy, 95% interval")
    if accuracy.x:
        tagged = [e for e in run.evaluations if e.format is not None]
        form = Series(
            "in the asked format",
            [e.policy_version or 0 for e in tagged],
            [100 * (e.format or 0) for e in tagged],
        )
        series = numbered([accuracy, form])
        figures.append(line_figure("Evaluation", series, "percent", "policy version"))
    parts = ("Reward by part", "mean, unweighted", reward_parts(run.metrics))
    for title, unit, names in (CURVES[0], parts, *CURVES[1:]):
        if present := _present(run.metrics, names):
            has_legend = names is parts[-1]
            figures.append(line_figure(title, present, unit, marks=marks, has_legend=has_legend))
    for title, names in TIMES:
        if times := _present(run.metrics, names):
            figures.append(stacked_figure(title, times, "seconds", marks=marks))
    return figures


def reward_parts(metrics: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Metric -> name of each reward that a run had."""
    return {
        metric: found[1]
        for line in metrics[:1]
        for metric in line
        if (found := re.fullmatch(r"reward/(\w+)_mean", metric))
    }


def _present(metrics: Sequence[Mapping[str, Any]], names: Mapping[str, str]) -> dict[int, Series]:
    return numbered(metric_series(metrics, metric, name) for metric, name in names.items())


def _marks(evaluations: Iterable[Summary]) -> list[Mark]:
    """Where on the curves the evaluated policies lie."""
    return [
        Mark(e.policy_version, f"v{e.policy_version}", f"policy {e.policy_version}{_scored(e)}")
        for e in evaluations
        if e.policy_version is not None
    ]


def _scored(summary: Summary) -> str:
    if summary.accuracy is None:
        return ""
    low, high = percent_interval(summary)
    return f": accuracy {percent(summary):.1f} [{low:.1f}, {high:.1f}]"


def evaluation_series(evaluations: Iterable[Summary], name: str) -> Series:
    """Accuracy by policy version, in percent, with intervals; of questions with answers."""
    judged = [e for e in evaluations if e.accuracy is not None and e.policy_version is not None]
    return Series(
        name=name,
        x=[e.policy_version for e in judged if e.policy_version is not None],
        y=[percent(e) for e in judged],
        intervals=[percent_interval(e) for e in judged],
    )
