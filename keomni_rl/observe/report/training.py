"""The page of one training run: results, curves and sampled rollouts with their sound."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from keomni_rl.config.describe import describe_run
from keomni_rl.data.prompts import split_completion
from keomni_rl.evaluation.summary import Summary
from keomni_rl.observe.report.figures import (
    Drawn,
    Series,
    line_figure,
    metric_series,
    numbered,
    percent,
    percent_interval,
    stacked_figure,
)
from keomni_rl.observe.report.folders import TrainingRun
from keomni_rl.observe.report.page import Page
from keomni_rl.observe.report.sounds import Embedding, embed_sounds

CURVES: tuple[tuple[str, str, Mapping[str, str]], ...] = (
    (
        "Reward",
        "mean over completions",
        {
            "reward/mean": "total",
            "reward/accuracy_mean": "accuracy",
            "reward/format_mean": "format",
            "reward/std": "spread within a group",
        },
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
        "Rollout against learner",
        "difference of log-probabilities",
        {"kl/rollout_policy_mean": "mean", "kl/rollout_policy_max": "largest"},
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
    ("Staleness", "policy versions", {"staleness/mean": "mean", "staleness/max": "largest"}),
    ("Gradient", "norm", {"learner/grad_norm": "before clipping"}),
    ("Throughput", "tokens a second", {"rollout/tokens_per_s": "whole system"}),
)
TIMES = {
    "time/wait_s": "waiting for groups",
    "time/learner_s": "learner",
    "time/publish_s": "publishing weights",
    "time/rest_s": "checkpoints and logs",
}


def training_page(run: TrainingRun, embedding: Embedding) -> Page:
    """Show a run, finished or not."""
    groups = [_group(group) for group in run.rollouts]
    wanted = {"all": groups, "wrong": [g for g in groups if g["has_wrong"]], "none": []}
    return Page(
        template="training.html.j2",
        title=run.name,
        kind="training run",
        settings=describe_run(run.config) if run.config else [],
        figures=_figures(run),
        sounds=embed_sounds((g["audio"] for g in wanted[embedding.audio]), embedding.limit_mb),
        notes=run.notes,
        content={
            "run": run,
            "first": run.evaluations[0] if run.evaluations else None,
            "last": run.evaluations[-1] if len(run.evaluations) > 1 else None,
            "groups": groups,
            "silence": f"left out by --audio {embedding.audio}",
            "is_supervised": run.config is not None and run.config.algo.kind == "supervised",
        },
    )


def evaluation_series(evaluations: Iterable[Summary], name: str) -> Series:
    """Accuracy by policy version, in percent, with intervals; of questions with answers."""
    judged = [e for e in evaluations if e.accuracy is not None and e.policy_version is not None]
    return Series(
        name=name,
        x=[e.policy_version for e in judged if e.policy_version is not None],
        y=[percent(e) for e in judged],
        intervals=[percent_interval(e) for e in judged],
    )


def _figures(run: TrainingRun) -> list[Drawn]:
    figures = []
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
    for title, unit, names in CURVES:
        if present := _present(run.metrics, names):
            figures.append(line_figure(title, present, unit))
    if times := _present(run.metrics, TIMES):
        figures.append(stacked_figure("Time of a step", times, "seconds"))
    return figures


def _present(metrics: Sequence[Mapping[str, Any]], names: Mapping[str, str]) -> dict[int, Series]:
    return numbered(metric_series(metrics, metric, name) for metric, name in names.items())


def _group(group: Mapping[str, Any]) -> dict[str, Any]:
    shown = [
        {**completion, "think": parts[0], "answer": parts[1]}
        for completion in group["completions"]
        for parts in [split_completion(completion["text"])]
    ]
    has_wrong = any(c["breakdown"].get("accuracy", 1) <= 0 for c in shown)
    return {**group, "completions": shown, "has_wrong": has_wrong}
