"""Position bias: whether answers follow where a choice stands in the list, not what it says."""

from collections import Counter
from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ConfigDict

from keomni_rl.evaluation.shares import Share
from keomni_rl.evaluation.verdict import chosen_position
from keomni_rl.types import Prediction, Question


class Position(BaseModel):
    """One place in the list of choices."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    listed: int
    """Questions that have a choice here."""
    chosen: int
    """Answers that named the choice here."""
    gold: int | None
    """Questions whose right choice stands here; None without answers."""
    accuracy: Share | None
    """Of those; None if there are none."""


class PositionBias(BaseModel):
    """How answers spread over the positions, and what a model would score that only looks there."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    positions: tuple[Position, ...]
    """From the first; choices that are listed twice count at their first place."""
    unmapped: int
    """Answers that name no choice, or several."""
    always_first: float | None
    """Accuracy of naming the first choice of every question; None without answers."""
    chance: float
    """Mean of 1 / number of choices."""


def position_bias(
    questions: Sequence[Question], found: Mapping[str, Prediction], right: set[str] | None
) -> PositionBias:
    """Count over all questions.

    Args:
        questions: all of them.
        found: predictions by question id.
        right: ids of the questions answered right; None if the questions have no answers.
    """
    n = len(questions)
    listed = Counter(place for q in questions for place in range(len(q.choices)))
    chosen = Counter(
        chosen_position(found[q.id].model_output, q.choices) for q in questions if q.id in found
    )
    gold = {q.id: _gold(q) for q in questions}
    return PositionBias(
        positions=tuple(
            Position(
                listed=listed[place],
                chosen=chosen[place],
                gold=None if right is None else sum(g == place for g in gold.values()),
                accuracy=_accuracy([i for i, g in gold.items() if g == place], right),
            )
            for place in range(max(listed) + 1)
        ),
        unmapped=chosen[None],
        always_first=None if right is None else sum(g == 0 for g in gold.values()) / n,
        chance=sum(1 / len(q.choices) for q in questions) / n,
    )


def _gold(question: Question) -> int | None:
    texts = [choice.strip() for choice in question.choices]
    answer = (question.answer or "").strip()
    return texts.index(answer) if answer in texts else None


def _accuracy(ids: Sequence[str], right: set[str] | None) -> Share | None:
    if right is None or not ids:
        return None
    return Share.of(sum(i in right for i in ids), len(ids))
