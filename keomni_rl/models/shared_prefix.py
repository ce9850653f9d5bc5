"""One group as one row: [prompt | c1 | c2 | ... | cG], the prompt and its audio computed once.

Each completion sees the prompt and itself only (`keomni_rl.models.prefix_attention`), and its
positions go on from the prompt's end, so the log-probabilities and gradients are those of G padded
rows, at a fraction of the tokens. A row with a single completion is the ordinary padded form: there
is no second implementation.

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
from keomni_rl.models.prefix_attention import RowLayout, use_prefix_attention


@dataclass(frozen=True, slots=True)
class PackedRows:
    """A micro-batch of shared-prefix rows as tensors."""

    ids_BS: torch.Tensor
    positions_BS: torch.Tensor
    layouts: tuple[RowLayout, ...]
    """What each row is made of."""
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
        layouts = tuple(
            RowLayout(len(prompt), tuple(map(len, group)))
            for prompt, group in zip(prompts, completions, strict=True)
        )
        shape = (len(layouts), max(layout.num_tokens for layout in layouts))
        ids = np.zeros(shape, np.int64)
        positions = np.zeros(shape, np.int64)
        predictors, targets = [], []
        for row, (prompt, group) in enumerate(zip(prompts, completions, strict=True)):
            start = len(prompt)
            ids[row, :start] = prompt
            positions[row, :start] = np.arange(start)
            for tokens in group:
                end = start + len(tokens)
                ids[row, start:end] = tokens
                positions[row, start:end] = len(prompt) + np.arange(len(tokens))
                base = row * shape[1]
                predictors.append(
                    base + np.concatenate(([len(prompt) - 1], np.arange(start, end - 1)))
                )
                targets.append(tokens)
                start = end
        return cls(
            ids_BS=torch.from_numpy(ids).to(device),
            positions_BS=torch.from_numpy(positions).to(device),
            layouts=layouts,
            predictors_N=torch.from_numpy(np.concatenate(predictors)).to(device),
            targets_N=torch.from_numpy(np.concatenate(targets).astype(np.int64)).to(device),
            # A copy: arrays from the object store are read-only, which torch does not know.
            mels=tuple(torch.from_numpy(np.array(mel)).to(device) for mel in mels),
        )


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
        use_prefix_attention(network.get_submodule(family.language_model))

    def forward(self, rows: PackedRows) -> torch.Tensor:
        """Log-probability of every completion token: float32 [N], in the order of ``rows``."""
        embeds_BSD = self.family.embed(self.network, rows.ids_BS, rows.mels)
        hidden_BSD = self.family.decode(self.network, embeds_BSD, rows.layouts, rows.positions_BS)
        hidden_ND = hidden_BSD.flatten(0, 1)[rows.predictors_N]
        return chunked_logprobs(
            self.network.lm_head,
            hidden_ND,
            rows.targets_N,
            forbidden_tokens=self.forbidden_tokens,
            temperature=self.temperature,
        )
