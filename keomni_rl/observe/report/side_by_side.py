"""The page of several runs side by side: the table of methods and the curves of all."""

from collections.abc import Iterator, Sequence

from keomni_rl.observe.report.evaluation import distinct_names
from keomni_rl.observe.report.evaluations import EvaluationRun
from keomni_rl.observe.report.figures import Drawn, line_figure, metric_series, numbered
from keomni_rl.observe.report.folders import TrainingRun
from keomni_rl.observe.report.methods import Row, differences, table_rows
from keomni_rl.observe.report.page import Page
from keomni_rl.observe.report.sounds import Sounds
from keomni_rl.observe.report.training import evaluation_series

CURVES = (
    ("Reward", "mean over completions", "reward/mean"),
    ("Accuracy reward", "mean over completions", "reward/accuracy_mean"),
    ("Loss of written tokens", "nats a token", "loss/token_nll_mean"),
    ("Length of completions", "tokens, mean", "rollout/completion_tokens_mean"),
    ("KL to the reference", "nats a token", "kl/ref_mean"),
    ("Gradient", "norm before clipping", "learner/grad_norm"),
    ("Throughput", "tokens a second", "rollout/tokens_per_s"),
)


def side_by_side_page(runs: Sequence[TrainingRun | EvaluationRun]) -> Page:
    """Show runs and evaluations as the seeds' papers show methods."""
    named = list(zip(distinct_names(runs), runs, strict=True))
    rows = table_rows(named)
    tasks = dict.fromkeys(task for r in rows if r.summary for task in r.summary.by_task)
    return Page(
        template="side_by_side.html.j2",
        title=", ".join(name for name, _ in named),
        kind=f"{len(runs)} runs side by side",
        settings=[],
        figures=list(_figures([(n, r) for n, r in named if isinstance(r, TrainingRun)])),
        sounds=Sounds(),
        notes=[*_version_notes(rows), *(f"{n}: {note}" for n, r in named for note in r.notes)],
        content={
            "rows": rows,
            "versions": sorted({r.summary.mmau_version for r in rows if r.summary}),
            "tasks": list(tasks),
            "differences": list(differences(rows)),
        },
    )


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
    for title, unit, metric in CURVES:
        series = [metric_series(run.metrics, metric, name) for name, run in trained]
        if found := numbered(series):
            yield line_figure(title, found, unit, has_legend=True)
