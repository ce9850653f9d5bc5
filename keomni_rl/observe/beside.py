"""What stands beside the verdict of an evaluation: other scorers, form, counts."""

from collections.abc import Iterator

from keomni_rl.evaluation.shares import Share
from keomni_rl.evaluation.summary import Summary

Value = Share | float | str
"""A share with its interval, a share without one, or a figure as it is to be read."""
SCORERS = {
    "strict": "strict: the choice, letter for letter",
    "alphanumeric": "alphanumeric, as NeMo-RL scores",
}


def beside_verdict(summary: Summary) -> Iterator[tuple[str, Value]]:
    """Words and their value; of what the summary leaves open there is nothing."""
    for name, share in summary.other_scorers.items():
        yield SCORERS[name], share
    if samples := summary.samples:
        yield f"mean of {samples.num_samples} samples", samples.mean
        yield f"majority of {samples.num_samples} samples", samples.majority
    yield from _form(summary)
    yield "questions without a prediction", str(summary.missing)
    yield "questions that failed", str(summary.failed)
    if summary.truncated is not None:
        yield "completions cut off", str(summary.truncated)
    yield "questions that list a choice twice", str(summary.duplicated_options)


def _form(summary: Summary) -> Iterator[tuple[str, Value]]:
    if summary.format is not None:
        yield "in the asked form, nothing around it", summary.format
    if summary.no_answer is not None:
        yield "completions without answer tags", summary.no_answer
    if think := summary.think:
        yield "words in a think, mean", f"{think.mean_words:.1f}"
        if think.over_limit is not None:
            yield f"thinks of {think.max_words} words or more", think.over_limit
