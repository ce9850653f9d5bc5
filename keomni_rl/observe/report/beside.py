"""What stands beside the verdict of one evaluation or two: other scorers, form, counts."""

from collections.abc import Iterator, Sequence

from keomni_rl.evaluation.shares import Share
from keomni_rl.evaluation.summary import Summary
from keomni_rl.observe.score_table import SCORERS
from keomni_rl.observe.table import NONE

Value = Share | str


def beside_rows(summaries: Sequence[Summary]) -> dict[str, list[Value]]:
    """Words -> a value of each summary; of what all of them leave open there is no row."""
    columns = [dict(_rows(summary)) for summary in summaries]
    words = dict.fromkeys(word for column in columns for word in column)
    return {word: [column.get(word, NONE) for column in columns] for word in words}


def _rows(summary: Summary) -> Iterator[tuple[str, Value]]:
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


def _form(summary: Summary) -> Iterator[tuple[str, str]]:
    if summary.format is not None:
        yield "in the asked form, nothing around it", _percent(summary.format)
    if summary.no_answer is not None:
        yield "completions without answer tags", _percent(summary.no_answer)
    if think := summary.think:
        yield "words in a think, mean", f"{think.mean_words:.1f}"
        if think.over_limit is not None:
            yield f"thinks of {think.max_words} words or more", _percent(think.over_limit)


def _percent(share: float) -> str:
    return f"{100 * share:.1f}%"
