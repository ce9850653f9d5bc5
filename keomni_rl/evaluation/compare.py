"""Whether two sets of predictions differ in accuracy, judged on the same questions."""

from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ConfigDict

from keomni_rl.data.mmau import TASKS, find_version
from keomni_rl.errors import DataError
from keomni_rl.evaluation.judge import has_answers, known_predictions, named, right_ids
from keomni_rl.evaluation.paired import Difference
from keomni_rl.types import Prediction, Question


class Comparison(BaseModel):
    """Two sets of predictions on the same questions, by the official verdict."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    names: tuple[str, str]
    """Of ours and of the baseline."""
    mmau_version: str
    total: Difference
    by_task: dict[str, Difference]
    """More looks at the same answers: their p values are not adjusted for that."""

    @property
    def in_words(self) -> str:
        """Whether the two differ, in a sentence that stands alone."""
        total = self.total
        low, high = total.interval95
        upper, lower = self.names
        if total.difference < 0:
            upper, lower, low, high = lower, upper, -high, -low
        says = f"{upper} scores {points_text(abs(total.difference))} points above {lower}"
        if total.difference == 0:
            says = f"{upper} and {lower} score the same"
        interval = f"[{points_text(low)}, {points_text(high)}]"
        chance = f"p = {total.p_value:.2g}" if total.p_value >= 0.0001 else "p < 0.0001"
        return f"{says} {interval}, {chance}: {_finding(total)}"


def compare(
    questions: Sequence[Question],
    predictions: Mapping[str, Prediction],
    baseline: Mapping[str, Prediction],
    *,
    names: tuple[str, str] = ("these predictions", "the baseline"),
) -> Comparison:
    """Compare two sets of predictions for the same questions; one that is missing is wrong.

    Args:
        questions: with answers.
        predictions: by question id; where there are several samples, the first counts.
        baseline: the same, of what they are measured against.
        names: of the two, for reading.

    Raises:
        DataError: no questions, predictions for other questions, or questions without answers.
    """
    if not questions:
        raise DataError(
            f"no questions to compare by; {names[0]} and {names[1]} hold none, so give predictions "
            "with their questions"
        )
    if not has_answers(questions):
        raise DataError("the questions have no answers, so there is nothing to compare by")
    ours, theirs = (
        right_ids(questions, known_predictions(questions, p)) for p in (predictions, baseline)
    )

    def difference(chosen: Sequence[Question]) -> Difference:
        pairs = [(q.id in ours, q.id in theirs) for q in chosen]
        return Difference.of(
            both=pairs.count((True, True)),
            only_ours=pairs.count((True, False)),
            only_baseline=pairs.count((False, True)),
            neither=pairs.count((False, False)),
        )

    by_task: dict[str, list[Question]] = {task: [] for task in TASKS}
    for question in questions:
        by_task.setdefault(question.extra.get("task", ""), []).append(question)
    return Comparison(
        names=names,
        mmau_version=find_version(questions),
        total=difference(questions),
        by_task={task: difference(those) for task, those in by_task.items() if task and those},
    )


def check_same_questions(
    ours: Sequence[Question], baseline: Sequence[Question], names: tuple[str, str]
) -> None:
    """See that two files ask the same.

    Raises:
        DataError: they do not, with how many questions are apart.
    """
    first, second = ({q.id: q for q in questions} for questions in (ours, baseline))
    shared = first.keys() & second.keys()
    changed = [i for i in first if i in shared and _content(first[i]) != _content(second[i])]
    if len(first) == len(second) == len(shared) and not changed:
        return
    versions = [find_version(questions) for questions in (ours, baseline)]
    alone = f"{len(first) - len(shared)} only in {names[0]}, {len(second) - len(shared)} only in "
    differing = (
        f"; {len(changed)} of the shared have another text, choices or answer: {named(changed)}"
    )
    raise DataError(
        f"{names[0]} ({versions[0]}) and {names[1]} ({versions[1]}) answer different questions: "
        f"{len(shared)} in both, {alone}{names[1]}{differing if changed else ''}; compare "
        "predictions for one version of MMAU, or judge both by one file with --questions"
    )


def points_text(share: float) -> str:
    """A share, or a difference of shares, in points."""
    return f"{round(100 * share, 1) + 0.0:.1f}"  # the sum turns -0.0 into 0.0


def _content(question: Question) -> tuple[str, tuple[str, ...], str | None]:
    return question.question, question.choices, question.answer


def _finding(total: Difference) -> str:
    if total.is_open:
        return f"these {total.n} questions leave it open, for interval and exact test disagree"
    if total.is_shown:
        return f"these {total.n} questions show a difference"
    return f"no difference is shown by these {total.n} questions"
