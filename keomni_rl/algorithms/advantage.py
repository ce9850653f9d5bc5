"""Group-relative advantages: how much better a completion is than its siblings."""

from collections.abc import Sequence

import numpy as np

from keomni_rl.types import FloatArray


def group_advantages(
    rewards_G: Sequence[float], *, divide_by_std: bool = True, eps: float = 1e-4
) -> FloatArray:
    """A_i = (r_i - mean(r)) / (std(r) + eps), std with ddof 1.

    Source: DeepSeekMath, arXiv 2402.03300, section 4.1.2; without the division Dr. GRPO,
    arXiv 2503.20783, section 3.2. Equal rewards give exact zeros.

    Args:
        rewards_G: total rewards of one prompt's G completions, G >= 2.
        divide_by_std: divide by the group's standard deviation.
        eps: added to the standard deviation.

    Returns:
        float32 [G].

    Raises:
        ValueError: fewer than two rewards.
    """
    rewards = np.asarray(rewards_G, np.float64)
    if rewards.size < 2:
        raise ValueError(
            f"advantages compare completions of a group, got a group of {rewards.size}"
        )
    if not has_signal(rewards_G):
        return np.zeros(rewards.size, np.float32)
    centred = rewards - rewards.mean()
    if divide_by_std:
        centred = centred / (rewards.std(ddof=1) + eps)
    return centred.astype(np.float32)


def has_signal(rewards_G: Sequence[float]) -> bool:
    """Whether the rewards differ, so that the group teaches more than KL."""
    return any(reward != rewards_G[0] for reward in rewards_G)
