"""How long the thinks of an evaluation are."""

from collections.abc import Sequence
from statistics import fmean

from pydantic import BaseModel, ConfigDict

from keomni_rl.rewards.think_length import num_think_words, within_limit


class ThinkLength(BaseModel):
    """Words between the think tags, over all completions."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mean_words: float
    max_words: int
    """The limit that the prompt named; 0 named none."""
    over_limit: float | None
    """Share of completions that think for ``max_words`` words or more; None without a limit."""


def think_length(raw: Sequence[str], max_words: int) -> ThinkLength:
    """Measure completions, one at least."""
    over = fmean(1 - within_limit(text, max_words) for text in raw) if max_words else None
    mean = fmean(num_think_words(text) for text in raw)
    return ThinkLength(mean_words=mean, max_words=max_words, over_limit=over)
