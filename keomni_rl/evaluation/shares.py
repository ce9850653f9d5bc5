"""Shares of right answers, with what their size says of them: standard error and interval."""

import math
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict
from scipy.stats import norm

Z95 = float(norm.ppf(0.975))


class Share(BaseModel):
    """A share of right answers, or only a count where the questions have no answers.

    Example:
        Share(accuracy=0.8, stderr=0.126, interval95=(0.490, 0.943), n=10)
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    accuracy: float | None
    """None where the questions have no answers, as the next two are then."""
    stderr: float | None
    """Standard error."""
    interval95: tuple[float, float] | None
    """Wilson's interval."""
    n: int
    """Questions."""

    @classmethod
    def of(cls, correct: int, n: int) -> "Share":
        """The share of ``correct`` in ``n`` > 0, with the binomial standard error."""
        share = correct / n
        return cls(
            accuracy=share,
            stderr=math.sqrt(share * (1 - share) / n),
            interval95=wilson_interval(share, n),
            n=n,
        )

    @classmethod
    def unjudged(cls, n: int) -> "Share":
        """``n`` questions without answers."""
        return cls(accuracy=None, stderr=None, interval95=None, n=n)

    @classmethod
    def of_means(cls, means: Sequence[float], num_samples: int) -> "Share":
        """The mean of several samples a question, which are no independent tries.

        The standard error is clustered by question: sqrt(sum_i (m_i - m)^2) / n over the means m_i
        of n questions (Miller 2024, arXiv 2411.00640, equation 4, for clusters of one size). The
        interval is Wilson's for the number of independent tries that would have this standard
        error, at most ``num_samples`` (Korn and Graubard 1998). With one sample a question both
        are those of `of`.

        Args:
            means: by question, each in [0, 1].
            num_samples: of all questions together.
        """
        n = len(means)
        mean = math.fsum(means) / n
        variance = math.fsum((m - mean) ** 2 for m in means) / n**2
        if mean in (0, 1):
            tries: float = n
        else:
            tries = min(mean * (1 - mean) / variance, num_samples) if variance else num_samples
        interval = wilson_interval(mean, tries)
        return cls(accuracy=mean, stderr=math.sqrt(variance), interval95=interval, n=n)


def wilson_interval(share: float, n: float) -> tuple[float, float]:
    """The 95% score interval of a share of ``n`` tries (Wilson 1927); n need not be whole."""
    z2 = Z95**2 / n
    centre = (share + z2 / 2) / (1 + z2)
    half = Z95 * math.sqrt(share * (1 - share) / n + z2 / (4 * n)) / (1 + z2)
    # Rounding must not put the share outside, where it is 0 or 1.
    return max(0.0, min(centre - half, share)), min(1.0, max(centre + half, share))
