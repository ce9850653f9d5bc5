"""Curves of one line of text."""

import math
from collections.abc import Sequence
from itertools import pairwise

BLOCKS = "".join(map(chr, range(0x2581, 0x2589)))
"""From an eighth of a line's height to all of it."""
ASCII_BLOCKS = "_.-:=+*#"


def sparkline(values: Sequence[float], width: int, *, is_ascii: bool = False) -> str:
    """Values from lowest to highest, each column the mean of its share of them.

    Args:
        values: in their order; what is not finite leaves a gap.
        width: columns at most; fewer values take fewer.
        is_ascii: use letters that every terminal has.

    Example:
        sparkline([0, 1, 2, 3], 4, is_ascii=True) == "_-+#"
    """
    blocks = ASCII_BLOCKS if is_ascii else BLOCKS
    columns = _means(values, width)
    finite = [value for value in columns if math.isfinite(value)]
    if not finite:
        return " " * len(columns)
    low, high = min(finite), max(finite)
    scale = (len(blocks) - 1) / (high - low) if high > low else 0.0
    return "".join(
        blocks[round((value - low) * scale)] if math.isfinite(value) else " " for value in columns
    )


def _means(values: Sequence[float], width: int) -> list[float]:
    num = min(len(values), max(width, 0))
    edges = [len(values) * i // num for i in range(num + 1)] if num else []
    return [_mean(values[a:b]) for a, b in pairwise(edges)]


def _mean(values: Sequence[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return math.fsum(finite) / len(finite) if finite else math.nan
