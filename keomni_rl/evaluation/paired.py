"""Two shares of the same questions: their difference, its interval, and a test of it."""

import math

from pydantic import BaseModel, ConfigDict
from scipy.stats import binomtest

from keomni_rl.evaluation.shares import wilson_interval

LEVEL = 0.05
"""Of the test; the interval's is the same."""


class Difference(BaseModel):
    """A paired difference in accuracy, ours less the baseline's.

    Example:
        Difference.of(both=59, only_ours=6, only_baseline=16, neither=80)
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    n: int
    ours: float
    """Accuracy."""
    baseline: float
    """Accuracy."""
    only_ours: int
    """Questions that only ours answered right."""
    only_baseline: int
    difference: float
    interval95: tuple[float, float]
    """Newcombe's, see `paired_interval`."""
    p_value: float
    """McNemar's exact test, two-sided: how likely chance splits the questions that only one of the
    two answered right as unevenly."""

    @classmethod
    def of(cls, *, both: int, only_ours: int, only_baseline: int, neither: int) -> "Difference":
        """From how many questions each of the two answered right; one at least in all."""
        n = both + only_ours + only_baseline + neither
        apart = only_ours + only_baseline
        return cls(
            n=n,
            ours=(both + only_ours) / n,
            baseline=(both + only_baseline) / n,
            only_ours=only_ours,
            only_baseline=only_baseline,
            difference=(only_ours - only_baseline) / n,
            interval95=paired_interval(both, only_ours, only_baseline, neither),
            p_value=float(binomtest(only_ours, apart).pvalue) if apart else 1.0,
        )

    @property
    def is_shown(self) -> bool:
        """Whether interval and test agree that there is a difference."""
        return self._is_unlikely and self._excludes_zero

    @property
    def is_open(self) -> bool:
        """Whether interval and test disagree."""
        return self._is_unlikely != self._excludes_zero

    @property
    def _is_unlikely(self) -> bool:
        return self.p_value < LEVEL

    @property
    def _excludes_zero(self) -> bool:
        return not self.interval95[0] <= 0 <= self.interval95[1]


def paired_interval(
    both: int, only_first: int, only_second: int, neither: int
) -> tuple[float, float]:
    """The 95% interval of the first share less the second, both of the same questions.

    Wilson's limits of the two shares, put together by the square-and-add rule with their
    correlation phi, whose numerator is corrected for continuity: method 10 of Newcombe 1998,
    Statistics in Medicine 17, 2635-2650.

    Args:
        both: how often both are right.
        only_first: how often only the first is.
        only_second: how often only the second is.
        neither: how often none is.
    """
    n = both + only_first + only_second + neither
    p1, p2 = (both + only_first) / n, (both + only_second) / n
    (l1, u1), (l2, u2) = wilson_interval(p1, n), wilson_interval(p2, n)
    phi = _corrected_phi(both, only_first, only_second, neither)
    below = _joined(p1 - l1, u2 - p2, phi)
    above = _joined(u1 - p1, p2 - l2, phi)
    return p1 - p2 - below, p1 - p2 + above


def _joined(first: float, second: float, phi: float) -> float:
    return math.sqrt(first**2 - 2 * phi * first * second + second**2)


def _corrected_phi(a: int, b: int, c: int, d: int) -> float:
    margins = (a + b) * (c + d) * (a + c) * (b + d)
    if margins == 0:
        return 0.0
    product = float(a * d - b * c)
    if product > 0:
        product = max(product - (a + b + c + d) / 2, 0)
    return product / math.sqrt(margins)
