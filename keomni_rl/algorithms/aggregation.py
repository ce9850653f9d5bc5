"""How token losses become one number: the weight of each token in the whole optimizer step.

With weights fixed before the forward pass, the loss is a plain weighted sum: the same however
tokens are packed, split into micro-batches or spread over ranks.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from keomni_rl.types import FloatArray

Aggregation = Literal["sequence", "token", "constant"]


def token_weights(
    lengths: Sequence[int], aggregation: Aggregation, *, constant_tokens: int | None = None
) -> FloatArray:
    """The weight that every token of a completion carries.

    - sequence: 1 / (S * T_s), a mean over tokens, then over completions (GRPO, arXiv 2402.03300,
      and Ke-Omni-R);
    - token: 1 / sum(T), a mean over all tokens (DAPO, arXiv 2503.14476, equation 12);
    - constant: 1 / (S * C) for a fixed C (Dr. GRPO, arXiv 2503.20783).

    Args:
        lengths: T_s of all S completions of the step.
        aggregation: which of the three.
        constant_tokens: C, for ``constant``.

    Returns:
        float32 [S].
    """
    tokens = np.asarray(lengths, np.float64)
    if (tokens < 1).any():
        raise ValueError("a completion has at least one token")
    if aggregation == "sequence":
        weights = 1.0 / (tokens.size * tokens)
    elif aggregation == "token":
        weights = np.full(tokens.size, 1.0 / tokens.sum())
    elif constant_tokens:
        weights = np.full(tokens.size, 1.0 / (tokens.size * constant_tokens))
    else:
        raise ValueError("aggregation 'constant' needs constant_tokens")
    return weights.astype(np.float32)
