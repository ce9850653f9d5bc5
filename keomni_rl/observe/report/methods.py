"""A table of methods: one row a model, how it was taught and what it scores, and who differs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from keomni_rl.config.describe import describe_method
from keomni_rl.config.schema import PromptConfig
from keomni_rl.errors import DataError
from keomni_rl.evaluation.compare import check_same_questions, compare
from keomni_rl.evaluation.paired import Difference
from keomni_rl.evaluation.summary import Summary
from keomni_rl.observe.report.evaluations import EvaluationRun
from keomni_rl.observe.report.folders import TrainingRun, read_folder

Run = TrainingRun | EvaluationRun


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    name: str
    model: str
    method: str
    prompt: str
    steps: int | None
    """Of training; None where it is not known."""
    summary: Summary | None
    """None where nothing was evaluated yet."""
    answers: EvaluationRun | None
    """None where the answers to the single questions are not there."""

    @property
    def model_name(self) -> str:
        """Of the model that it started from."""
        return Path(self.model).name


def table_rows(named: Sequence[tuple[str, Run]]) -> list[Row]:
    """Bases first, each model and prompt once; then what was taught, in the order given.

    A base is the policy of a run before its first step, or an evaluation of the model that a run
    started from, which goes before the run's own. A run counts by its last evaluation, which need
    not be its best.
    """
    models = {_model(run) for _, run in named if isinstance(run, TrainingRun)} - {""}
    bases: dict[tuple[str, PromptConfig | None], Row] = {}
    for name, run in sorted(named, key=lambda pair: isinstance(pair[1], TrainingRun)):
        if row := _base(name, run, models):
            bases.setdefault((_model(run), _prompt(run)), row)
    taught = [_taught(name, run) for name, run in named if not _is_base(run, models)]
    return [*bases.values(), *taught]


def differences(rows: Sequence[Row]) -> Iterator[tuple[Row, list[Difference | None]]]:
    """Each row but the first, with its difference to every row before it.

    None where the two were not put the same questions, or the questions have no answers.
    """
    for number, row in enumerate(rows[1:], start=1):
        yield row, [_difference(row, before) for before in rows[:number]]


def _base(name: str, run: Run, models: set[str]) -> Row | None:
    if isinstance(run, EvaluationRun):
        return _evaluated(name, run, "base", steps=0) if _is_base(run, models) else None
    found = next((s for s in run.evaluations if s.policy_version == 0), None)
    if found is None:
        return None
    return Row(
        name=Path(_model(run)).name or name,
        model=_model(run),
        method="base",
        prompt=_style(run),
        steps=0,
        summary=found,
        answers=_answers(run, found),
    )


def _taught(name: str, run: Run) -> Row:
    if isinstance(run, EvaluationRun):
        version = run.summary.policy_version if run.summary else None
        return _evaluated(name, run, "evaluated", steps=version)
    last = next((s for s in reversed(run.evaluations) if s.policy_version), None)
    return Row(
        name=name,
        model=_model(run),
        method=describe_method(run.config) if run.config else "",
        prompt=_style(run),
        steps=last.policy_version if last else None,
        summary=last,
        answers=_answers(run, last) if last else None,
    )


def _evaluated(name: str, run: EvaluationRun, method: str, steps: int | None) -> Row:
    return Row(
        name=name,
        model=run.model,
        method=method,
        prompt=_style(run),
        steps=steps,
        summary=run.summary,
        answers=run if run.is_finished else None,
    )


def _is_base(run: Run, models: set[str]) -> bool:
    is_inside_a_run = isinstance(run, EvaluationRun) and run.summary and run.summary.policy_version
    return isinstance(run, EvaluationRun) and run.model in models and not is_inside_a_run


def _model(run: Run) -> str:
    if isinstance(run, EvaluationRun):
        return run.model
    return str(run.config.model.path) if run.config else ""


def _prompt(run: Run) -> PromptConfig | None:
    if isinstance(run, EvaluationRun):
        return run.prompt
    return run.config.prompt if run.config else None


def _style(run: Run) -> str:
    prompt = _prompt(run)
    return prompt.style if prompt else ""


def _answers(run: TrainingRun, summary: Summary) -> EvaluationRun | None:
    folder = run.folder / "evaluation" / f"step_{summary.policy_version or 0:06d}"
    found = read_folder(folder)
    return found if isinstance(found, EvaluationRun) else None


def _difference(row: Row, before: Row) -> Difference | None:
    if row.answers is None or before.answers is None:
        return None
    ours, baseline = row.answers, before.answers
    try:
        check_same_questions(ours.questions, baseline.questions, (row.name, before.name))
        return compare(ours.questions, ours.predictions, baseline.predictions).total
    except DataError:
        return None
