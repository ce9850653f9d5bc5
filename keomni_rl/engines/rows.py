"""From scored groups to micro-batches: which rows go through the network together."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from keomni_rl.models.shared_prefix import PackedRows
from keomni_rl.types import Clip, FloatArray, RolloutGroup

PASS_TOKENS = 64
"""What one more pass through the network costs, in tokens that go through it."""


@dataclass(frozen=True, slots=True)
class Row:
    """One group on its way to the learner."""

    rollout: RolloutGroup
    clip: Clip
    weights: FloatArray
    """[G] what one token of each completion weighs in the step's loss."""


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """Rows packed into tensors with their per-token quantities, all [N] in the rows' order."""

    rows: PackedRows
    rollout_logprobs_N: torch.Tensor
    advantages_N: torch.Tensor
    weights_N: torch.Tensor
    ref_logprobs_N: torch.Tensor | None

    @classmethod
    def of(cls, rows: Sequence[Row], device: torch.device | str) -> "MicroBatch":
        """Pack rows and spread each completion's advantage and weight over its tokens."""
        completions = [c for row in rows for c in row.rollout.group.completions]
        lengths = [len(c.token_ids) for c in completions]
        advantages = np.concatenate([row.rollout.advantages for row in rows])
        weights = np.concatenate([row.weights for row in rows])

        def tensor(values: np.ndarray) -> torch.Tensor:
            return torch.from_numpy(values.astype(np.float32)).to(device)

        ref = None
        if all(row.rollout.ref_logprobs is not None for row in rows):
            ref = tensor(
                np.concatenate([t for row in rows for t in row.rollout.ref_logprobs or ()])
            )
        return cls(
            rows=pack([row.rollout for row in rows], [row.clip for row in rows], device),
            rollout_logprobs_N=tensor(np.concatenate([c.rollout_logprobs for c in completions])),
            advantages_N=tensor(np.repeat(advantages, lengths)),
            weights_N=tensor(np.repeat(weights, lengths)),
            ref_logprobs_N=ref,
        )

    def without_weight(self) -> "MicroBatch":
        """The same passes through the network, adding nothing to the loss."""
        return replace(self, weights_N=torch.zeros_like(self.weights_N))


def pack(
    rollouts: Sequence[RolloutGroup], clips: Sequence[Clip], device: torch.device | str
) -> PackedRows:
    """The tensors of some groups as shared-prefix rows."""
    groups = [rollout.group for rollout in rollouts]
    return PackedRows.pack(
        [group.prompt_ids for group in groups],
        [[c.token_ids for c in group.completions] for group in groups],
        [clip.mel for clip in clips],
        device,
    )


def split_rows(
    num_tokens: Sequence[int], micro_batch_tokens: int, *, at_least: int = 1
) -> list[list[int]]:
    """Indices of rows that share a micro-batch: the longest first, neighbours in length together.

    Of all ways to cut the sorted rows into batches the one with the fewest padded tokens, where a
    pass through the network counts as ``PASS_TOKENS`` more.

    Args:
        num_tokens: of each row.
        micro_batch_tokens: most padded tokens of a micro-batch; a longer row goes alone.
        at_least: batches, so that all ranks make as many passes; fewer only of fewer rows.
    """
    rows = sorted(range(len(num_tokens)), key=lambda i: -num_tokens[i])
    costs, cuts = [0], [0]
    for end in range(1, len(rows) + 1):
        padded = {start: num_tokens[rows[start]] * (end - start) for start in range(end)}
        fits = [s for s in padded if padded[s] <= micro_batch_tokens or s == end - 1]
        start = min(fits, key=lambda s: costs[s] + padded[s])
        costs.append(costs[start] + padded[start] + PASS_TOKENS)
        cuts.append(start)
    batches: list[list[int]] = []
    end = len(rows)
    while end:
        batches.insert(0, rows[cuts[end] : end])
        end = cuts[end]
    while len(batches) < min(at_least, len(rows)):
        position = max(range(len(batches)), key=lambda i: len(batches[i]))
        batch = batches[position]
        middle = len(batch) // 2
        batches[position : position + 1] = [batch[:middle], batch[middle:]]
    return batches
