"""What stands beside the verdict, in the columns of one evaluation or two."""

from collections.abc import Sequence

from keomni_rl.evaluation.shares import Share
from keomni_rl.evaluation.summary import Summary
from keomni_rl.observe.beside import Value, beside_verdict
from keomni_rl.observe.table import NONE


def beside_rows(summaries: Sequence[Summary]) -> dict[str, list[Share | str]]:
    """Words -> a value of each summary; of what all of them leave open there is no row."""
    columns = [dict(beside_verdict(summary)) for summary in summaries]
    words = dict.fromkeys(word for column in columns for word in column)
    return {word: [_shown(column.get(word, NONE)) for column in columns] for word in words}


def _shown(value: Value) -> Share | str:
    return f"{100 * value:.1f}%" if isinstance(value, float) else value
