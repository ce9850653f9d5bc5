"""From scored groups to micro-batches: which rows go through the network together."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from keomni_rl.models.shared_prefix import PackedRows
from keomni_rl.types import Clip, FloatArray, RolloutGroup

LIKE = 0.75
"""A row joins a longer one only if it is this share of its length: the rest would be padding."""


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


def split_rows(num_tokens: Sequence[int], micro_batch_tokens: int) -> list[list[int]]:
    """Indices of rows that share a micro-batch: neighbours in length, padded size within the limit.

    Args:
        num_tokens: of each row.
        micro_batch_tokens: most padded tokens of a micro-batch; a longer row goes alone.
    """
    batches: list[list[int]] = []
    for index in sorted(range(len(num_tokens)), key=lambda i: -num_tokens[i]):
        width = num_tokens[batches[-1][0]] if batches else 0
        is_like = num_tokens[index] >= LIKE * width
        if batches and is_like and width * (len(batches[-1]) + 1) <= micro_batch_tokens:
            batches[-1].append(index)
        else:
            batches.append([index])
    return batches
