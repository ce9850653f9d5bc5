"""Files of predictions scored and compared, with what a file does not say left open."""

from collections.abc import Iterable

from keomni_rl.data.mmau import find_version
from keomni_rl.data.prompts import ANSWER, THINK
from keomni_rl.evaluation.compare import Comparison, check_same_questions, compare
from keomni_rl.evaluation.predictions import PredictionFile
from keomni_rl.evaluation.summary import Summary, summarise
from keomni_rl.types import Prediction


def score_file(
    file: PredictionFile,
    *,
    think: bool | None,
    think_max_words: int,
    tags: bool | None = None,
) -> Summary:
    """Judge a file of predictions as an evaluation judges its own.

    Args:
        file: predictions with their questions.
        think: whether a think was asked for; None asks the completions, see `most_think`.
        think_max_words: the limit that was named; 0 for none.
        tags: whether answer tags were asked for; None asks the completions, see `any_tagged`.
    """
    said = file.predictions.values()
    versions = {p.policy_version for p in said}
    return summarise(
        file.questions,
        file.predictions,
        think=most_think(said) if think is None else think,
        has_tags=any_tagged(said) if tags is None else tags,
        think_max_words=think_max_words,
        mmau_version=find_version(file.questions),
        policy_version=versions.pop() if len(versions) == 1 else None,
        temperature=None,
    )


def compare_files(
    ours: PredictionFile, baseline: PredictionFile, *, names: tuple[str, str]
) -> Comparison:
    """Measure a file of predictions against another.

    Raises:
        DataError: they answer different questions, or questions without answers.
    """
    check_same_questions(ours.questions, baseline.questions, names)
    return compare(ours.questions, ours.predictions, baseline.predictions, names=names)


def any_tagged(predictions: Iterable[Prediction]) -> bool:
    """Whether a completion opens its answer, or none is known to look at."""
    raw = [p.model_output_raw for p in predictions if p.model_output_raw]
    return not raw or any(ANSWER[0] in text for text in raw)


def most_think(predictions: Iterable[Prediction]) -> bool:
    """Whether more than half of the completions open a think."""
    opened = [THINK[0] in p.model_output_raw for p in predictions]
    return 2 * sum(opened) > len(opened)
