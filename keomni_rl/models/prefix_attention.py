"""Attention over shared-prefix rows, which computes nothing that its mask would hide.

The prompt attends to itself, and every completion to the prompt and to itself: two calls of
PyTorch's attention, the second with completions as its batch, in place of one over the whole row
with a mask of [S, S]. transformers calls it by name, as it calls its own implementations.

Legend: H heads, S tokens of a row, P of its prompt, G completions, T tokens of the longest, D head.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch.nn.attention.bias import causal_lower_right
from torch.nn.functional import pad, scaled_dot_product_attention
from torch.utils.checkpoint import checkpoint
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

NAME = "keomni_rl_shared_prefix"


@dataclass(frozen=True)
class RowLayout:
    """Which tokens of a row are the prompt, and which each completion."""

    prompt: int
    """P, more than 0."""
    completions: tuple[int, ...]
    """T of each, more than 0."""

    @property
    def num_tokens(self) -> int:
        """Of the row, without padding."""
        return self.prompt + sum(self.completions)

    @cached_property
    def is_even(self) -> bool:
        """Whether all completions are of one length."""
        return len(set(self.completions)) == 1

    @cached_property
    def gather(self) -> torch.Tensor:
        """Where in the row each completion's tokens are, its last one repeated: [G, T]."""
        lengths = torch.tensor(self.completions)
        starts = self.prompt + torch.cumsum(lengths, 0) - lengths
        offsets = torch.arange(int(lengths.max()))
        return starts.unsqueeze(1) + torch.minimum(offsets, lengths.unsqueeze(1) - 1)

    @cached_property
    def is_token(self) -> torch.Tensor:
        """Which places of `gather` are a completion's own: [G, T]."""
        lengths = torch.tensor(self.completions)
        return torch.arange(int(lengths.max())) < lengths.unsqueeze(1)


def use_prefix_attention(language_model: Any) -> None:
    """Have a transformers decoder attend so wherever it is given layouts in place of a mask."""
    AttentionInterface.register(NAME, prefix_attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    language_model.config._attn_implementation = NAME


def prefix_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: Sequence[RowLayout] | torch.Tensor | None,
    scaling: float | None = None,
    **more: Any,
) -> tuple[torch.Tensor, None]:
    """Attend, with transformers' calling convention; anything but layouts is left to its own.

    Args:
        module: the attention layer.
        query: [B, H, S, D]
        key: [B, fewer H, S, D]
        value: as key.
        attention_mask: a layout for each row.
        scaling: of the scores.
        more: for transformers' own.

    Returns:
        [B, S, H, D]; what it is where a row is padded is of no use.
    """
    if attention_mask is None or isinstance(attention_mask, torch.Tensor):
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, **more
        )
    groups: int = module.num_key_value_groups  # type: ignore[assignment]
    key, value = repeat_kv(key, groups), repeat_kv(value, groups)
    if all(len(layout.completions) == 1 for layout in attention_mask):
        # Ordinary sequences, whose padding comes last, where nothing looks.
        found = scaled_dot_product_attention(query, key, value, is_causal=True, scale=scaling)
        return found.transpose(1, 2).contiguous(), None
    rows = [
        _attend_row(query[row], key[row], value[row], layout, scaling)
        for row, layout in enumerate(attention_mask)
    ]
    width = query.shape[2]
    padded = [pad(row, (0, 0, 0, width - row.shape[1])) for row in rows]
    return torch.stack(padded).transpose(1, 2).contiguous(), None


def _attend_row(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    layout: RowLayout,
    scaling: float | None,
) -> torch.Tensor:
    """One row, [H, S, D] each; its tokens without padding come back."""
    end = layout.prompt
    of_prompt = scaled_dot_product_attention(
        query[None, :, :end],
        key[None, :, :end],
        value[None, :, :end],
        is_causal=True,
        scale=scaling,
    )[0]
    # Keys of the prompt, repeated for each completion, are not kept for backward.
    of_completions = checkpoint(
        _attend_completions,
        *(query, key, value, layout, scaling),
        use_reentrant=False,
        preserve_rng_state=False,
    )
    return torch.cat([of_prompt, of_completions], dim=1)


def _attend_completions(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    layout: RowLayout,
    scaling: float | None,
) -> torch.Tensor:
    """Every completion as a row of its own, whose keys are the prompt's and its own."""
    own = _completions(query, layout)
    keys, values = (
        torch.cat([of_row[:, : layout.prompt].expand(len(own), -1, -1, -1), mine], dim=2)
        for of_row, mine in ((key, _completions(key, layout)), (value, _completions(value, layout)))
    )
    length = own.shape[2]
    mask: Any = causal_lower_right(length, layout.prompt + length)
    found = scaled_dot_product_attention(own, keys, values, attn_mask=mask, scale=scaling)
    found = found.transpose(0, 1)  # [H, G, T, D]
    if layout.is_even:
        return found.flatten(1, 2)
    return found[:, layout.is_token.to(found.device)]


def _completions(of_row: torch.Tensor, layout: RowLayout) -> torch.Tensor:
    """[H, S, D] -> [G, H, T, D]."""
    if layout.is_even:
        own = of_row[:, layout.prompt : layout.num_tokens]
        return own.unflatten(1, (len(layout.completions), -1)).transpose(0, 1)
    return of_row[:, layout.gather.to(of_row.device)].transpose(0, 1)
