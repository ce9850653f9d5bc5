"""One group as one row: [prompt | c1 | c2 | ... | cG], the prompt and its audio computed once.

Each completion sees the prompt and itself only, and its positions go on from the prompt's end, so
the log-probabilities and gradients are those of G padded rows, at a fraction of the tokens. A row
with a single completion is the ordinary padded form: there is no second implementation.

Legend: B rows, S tokens of the longest row, N completion tokens of all rows, D width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import nn

from keomni_rl.models.family import Family
from keomni_rl.models.logprobs import chunked_logprobs

PROMPT, PADDING = 0, -1


@dataclass(frozen=True, slots=True)
class PackedRows:
    """A micro-batch of shared-prefix rows as tensors."""

    ids_BS: torch.Tensor
    positions_BS: torch.Tensor
    segments_BS: torch.Tensor
    """0 prompt, 1..G the completion a token belongs to, -1 padding."""
    predictors_N: torch.Tensor
    """Index into the flattened [B * S] of the hidden state that predicts each target."""
    targets_N: torch.Tensor
    mels: tuple[torch.Tensor, ...]
    """One [128, F] per row."""

    @classmethod
    def pack(
        cls,
        prompts: Sequence[np.ndarray],
        completions: Sequence[Sequence[np.ndarray]],
        mels: Sequence[np.ndarray],
        device: torch.device | str = "cpu",
    ) -> Self:
        """Lay out rows; targets come row by row, completion by completion, token by token."""
        widths = [len(p) + sum(map(len, cs)) for p, cs in zip(prompts, completions, strict=True)]
        shape = (len(prompts), max(widths))
        ids = np.zeros(shape, np.int64)
        positions = np.zeros(shape, np.int64)
        segments = np.full(shape, PADDING, np.int64)
        predictors, targets = [], []
        for row, (prompt, group) in enumerate(zip(prompts, completions, strict=True)):
            start = len(prompt)
            ids[row, :start] = prompt
            positions[row, :start] = np.arange(start)
            segments[row, :start] = PROMPT
            for number, tokens in enumerate(group, start=1):
                end = start + len(tokens)
                ids[row, start:end] = tokens
                positions[row, start:end] = len(prompt) + np.arange(len(tokens))
                segments[row, start:end] = number
                base = row * shape[1]
                predictors.append(
                    base + np.concatenate(([len(prompt) - 1], np.arange(start, end - 1)))
                )
                targets.append(tokens)
                start = end
        return cls(
            ids_BS=torch.from_numpy(ids).to(device),
            positions_BS=torch.from_numpy(positions).to(device),
            segments_BS=torch.from_numpy(segments).to(device),
            predictors_N=torch.from_numpy(np.concatenate(predictors)).to(device),
            targets_N=torch.from_numpy(np.concatenate(targets).astype(np.int64)).to(device),
            # A copy: arrays from the object store are read-only, which torch does not know.
            mels=tuple(torch.from_numpy(np.array(mel)).to(device) for mel in mels),
        )


def attention_mask(segments_BS: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """The additive mask [B, 1, S, S]: causal, the prompt for all, each completion for itself.

    Padding attends to itself, so that no softmax is over nothing.
    """
    size = segments_BS.shape[1]
    query, key = segments_BS.unsqueeze(2), segments_BS.unsqueeze(1)
    causal = torch.ones(size, size, dtype=torch.bool, device=segments_BS.device).tril()
    visible = causal & ((key == PROMPT) | (key == query)) & (key != PADDING)
    visible |= torch.eye(size, dtype=torch.bool, device=segments_BS.device)
    mask = torch.zeros(visible.shape, dtype=dtype, device=segments_BS.device)
    return mask.masked_fill_(~visible, torch.finfo(dtype).min).unsqueeze(1)


class Policy(nn.Module):
    """A family's network under the one forward that learner and reference share.

    ``temperature`` and ``forbidden_tokens`` are those of sampling, so that the log-probabilities
    are of the very distribution that the completions were drawn from.
    """

    def __init__(
        self,
        network: nn.Module,
        family: Family,
        *,
        forbidden_tokens: Sequence[int] = (),
        temperature: float = 1.0,
    ) -> None:
        super().__init__()
        self.network: Any = network  # its attributes are the architecture's own
        self.family = family
        self.temperature = temperature
        self.forbidden_tokens = list(forbidden_tokens)

    def forward(self, rows: PackedRows) -> torch.Tensor:
        """Log-probability of every completion token: float32 [N], in the order of ``rows``."""
        embeds_BSD = self.family.embed(self.network, rows.ids_BS, rows.mels)
        mask_B1SS = attention_mask(rows.segments_BS, embeds_BSD.dtype)
        hidden_BSD = self.family.decode(self.network, embeds_BSD, mask_B1SS, rows.positions_BS)
        hidden_ND = hidden_BSD.flatten(0, 1)[rows.predictors_N]
        return chunked_logprobs(
            self.network.lm_head,
            hidden_ND,
            rows.targets_N,
            forbidden_tokens=self.forbidden_tokens,
            temperature=self.temperature,
        )
