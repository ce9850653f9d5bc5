"""Predictions against their questions: which were answered right, by each of the verdicts."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from keomni_rl.errors import DataError
from keomni_rl.evaluation.verdict import alphanumeric_match, strict_match, string_match
from keomni_rl.types import Prediction, Question

Judge = Callable[[str, Prediction, Sequence[str]], bool]
"""(answer, prediction, choices) -> whether it is right."""
MAX_NAMED = 5
"""Ids that a message names before it only counts."""
MAX_SHOWN = 80
"""Letters of an id in a message."""


def official(answer: str, prediction: Prediction, choices: Sequence[str]) -> bool:
    """MMAU's verdict on the extracted answer."""
    return string_match(answer, prediction.model_output, choices)


def strict(answer: str, prediction: Prediction, _: Sequence[str]) -> bool:
    """The extracted answer is the right choice."""
    return strict_match(answer, prediction.model_output)


def alphanumeric(answer: str, prediction: Prediction, _: Sequence[str]) -> bool:
    """NeMo-RL's verdict on the whole completion."""
    return alphanumeric_match(answer, prediction.model_output_raw)


def right_ids(
    questions: Iterable[Question], found: Mapping[str, Prediction], judge: Judge = official
) -> set[str]:
    """Ids of the questions that were answered right; one without a prediction was not."""
    return {
        q.id for q in questions if q.id in found and judge(q.answer or "", found[q.id], q.choices)
    }


def has_answers(questions: Sequence[Question]) -> bool:
    """Whether the questions can be judged at all.

    Raises:
        DataError: some have an answer and some have none.
    """
    without = [q.id for q in questions if q.answer is None]
    if without and len(without) < len(questions):
        raise DataError(
            f"{len(without)} of {len(questions)} questions have no answer: {named(without)}; "
            "wanted one for every question, or for none"
        )
    return not without


def known_predictions(
    questions: Iterable[Question], predictions: Mapping[str, Prediction]
) -> dict[str, Prediction]:
    """The predictions, in the order of their questions.

    Raises:
        DataError: one is for none of the questions.
    """
    found = {q.id: predictions[q.id] for q in questions if q.id in predictions}
    if len(found) < len(predictions):
        others = [i for i in predictions if i not in found]
        raise DataError(
            f"{len(others)} of {len(predictions)} predictions are for other questions: "
            f"{named(others)}; judge them against the questions they were made for"
        )
    return found


def named(ids: Sequence[str]) -> str:
    """The first few ids, and how many more there are; an odd one in quotes, and cut."""
    first = ids[:MAX_NAMED]
    shown = [i if i.isprintable() and len(i) <= MAX_SHOWN else f"{i!r:.{MAX_SHOWN}}" for i in first]
    more = f" and {len(ids) - MAX_NAMED} more" if len(ids) > MAX_NAMED else ""
    return ", ".join(shown) + more
