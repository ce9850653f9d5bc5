"""What a step's groups say about the policy, as metrics."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from keomni_rl.algorithms.advantage import has_signal
from keomni_rl.rewards.think_length import num_think_words
from keomni_rl.types import FinishReason, RolloutGroup


def group_metrics(
    groups: Sequence[RolloutGroup], *, policy_version: int, think_max_words: int
) -> dict[str, float]:
    """Means over the step's completions (rewards, lengths) and its groups (spread, staleness).

    Written groups have neither rewards nor an age, only lengths.
    """
    completions = [c for g in groups for c in g.group.completions]
    lengths = [len(c.token_ids) for c in completions]
    metrics = {
        "rollout/completion_tokens_mean": np.mean(lengths),
        "rollout/completion_tokens_max": np.max(lengths),
    }
    if groups[0].rewards:
        metrics |= _reward_metrics(groups)
        ages = [age for group in groups for age in staleness(group, policy_version)]
        is_cut = [c.finish_reason == FinishReason.LENGTH for c in completions]
        metrics |= {
            "rollout/truncated_share": np.mean(is_cut),
            "rollout/think_over_limit_share": np.mean(
                [num_think_words(c.text) >= think_max_words for c in completions]
            ),
            "staleness/mean": np.mean(ages),
            "staleness/max": np.max(ages),
        }
    return {name: float(value) for name, value in metrics.items()}


def staleness(group: RolloutGroup, policy_version: int) -> list[int]:
    """By how many versions each completion's oldest token is behind; none of written ones."""
    if not group.rewards:
        return []
    return [policy_version - c.policy_version[0] for c in group.group.completions]


def _reward_metrics(groups: Sequence[RolloutGroup]) -> dict[str, np.floating[Any]]:
    rewards = [r for g in groups for r in g.rewards]
    totals = [[r.total for r in g.rewards] for g in groups]
    metrics = {
        "reward/mean": np.mean([r.total for r in rewards]),
        "reward/std": np.mean([np.std(t, ddof=1) for t in totals]),
        "rollout/equal_reward_share": np.mean([not has_signal(t) for t in totals]),
    }
    for name in rewards[0].breakdown:
        metrics[f"reward/{name}_mean"] = np.mean([r.breakdown[name] for r in rewards])
    return metrics
