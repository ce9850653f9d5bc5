"""Several samples a question: their mean accuracy, and the accuracy of their majority."""

from collections import Counter
from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ConfigDict

from keomni_rl.evaluation.shares import Share
from keomni_rl.evaluation.verdict import chosen_position, extract_answer, string_match
from keomni_rl.types import Prediction, Question


class SampleFigures(BaseModel):
    """What several samples a question say together, by the official verdict."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    num_samples: int
    """Of a question; the most that one has."""
    mean: Share
    """Mean over a question's samples, then over questions; its standard error is clustered."""
    majority: Share
    """Of the choice that most samples of a question name."""


def sample_figures(
    questions: Sequence[Question], found: Mapping[str, Prediction]
) -> SampleFigures | None:
    """Judge all samples of all questions; None if no question has several.

    A question without a prediction is wrong in all that its samples would have been.
    """
    answers = {
        i: [extract_answer(raw) for raw in p.samples] or [p.model_output] for i, p in found.items()
    }
    num_samples = max(map(len, answers.values()), default=0)
    if num_samples < 2:
        return None
    said = [(q, answers.get(q.id, [])) for q in questions]
    means = [sum(_is_right(q, text) for text in texts) / max(1, len(texts)) for q, texts in said]
    voted = sum(_is_right(q, majority(texts, q.choices)) for q, texts in said)
    return SampleFigures(
        num_samples=num_samples,
        mean=Share.of_means(means, num_samples * len(questions)),
        majority=Share.of(voted, len(questions)),
    )


def majority(answers: Sequence[str], choices: Sequence[str]) -> str:
    """The choice that most answers name; of several, the one named first; "" if none is named."""
    votes = Counter(
        choices[place] for text in answers if (place := chosen_position(text, choices)) is not None
    )
    return votes.most_common(1)[0][0] if votes else ""


def _is_right(question: Question, answer: str) -> bool:
    return string_match(question.answer or "", answer, question.choices)
