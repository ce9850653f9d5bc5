"""What an evaluator makes of the texts that a model answered one question with."""

from collections.abc import Sequence

from keomni_rl.evaluation.verdict import extract_answer
from keomni_rl.types import Prediction


def prediction_of(
    question_id: str,
    texts: Sequence[str],
    *,
    finish_reason: str,
    num_tokens: int,
    policy_version: int | None = None,
) -> Prediction:
    """The first text is the prediction; all of them are its samples when there are several.

    A lone surrogate, which no file takes, becomes a question mark.

    Args:
        question_id: of the question.
        texts: raw completions, one or more.
        finish_reason: of the first.
        num_tokens: of all.
        policy_version: of the weights that answered; None for a model that does not change.
    """
    clean = tuple(text.encode("utf-8", "replace").decode() for text in texts)
    return Prediction(
        id=question_id,
        model_output=extract_answer(clean[0]),
        model_output_raw=clean[0],
        finish_reason=finish_reason,
        num_tokens=num_tokens,
        policy_version=policy_version,
        samples=clean if len(clean) > 1 else (),
    )
