"""What the learner sends of adapted matrices, once and with every step.

`keomni_rl.engines.adapter_merge` says what it looks like on the wire and puts it together again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import nn

from keomni_rl.engines.adapter_merge import ADAPTER, join_adapter, pack_scale
from keomni_rl.models.adapters import BASE, SCALE, Weight, whole_shape


class Sendable(Protocol):
    """A tensor that is made of parameters, which ZeRO-3 may have taken apart."""

    @property
    def name(self) -> str:
        """In-memory name."""

    @property
    def parts(self) -> tuple[nn.Parameter, ...]:
        """The parameters, to be gathered."""

    @property
    def dtype(self) -> torch.dtype:
        """Of the tensor."""

    @property
    def shape(self) -> torch.Size:
        """Of the tensor."""

    def value(self) -> torch.Tensor:
        """The tensor; its parts must be gathered."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """What a step changes of a matrix: A and B, or nothing."""

    weight: Weight

    @property
    def name(self) -> str:
        """In-memory name."""
        return self.weight.name.removesuffix(".weight") + ADAPTER

    @property
    def parts(self) -> tuple[nn.Parameter, ...]:
        """A [rank, in] and B [out, rank], if there are any."""
        return self.weight.parts[1:]

    @property
    def dtype(self) -> torch.dtype:
        """Of A and B."""
        return (self.parts or self.weight.parts)[0].dtype

    @property
    def shape(self) -> torch.Size:
        """[rank, in + out]; the rank is 0 without an adapter."""
        rank = whole_shape(self.parts[0])[0] if self.parts else 0
        return torch.Size((rank, sum(self.weight.shape)))

    def value(self) -> torch.Tensor:
        """Both in one tensor; they must be gathered."""
        if not self.parts:
            return torch.empty(self.shape, dtype=self.dtype, device=self.weight.whole.device)
        down, up = (part.detach() for part in self.parts)
        return join_adapter(down, up)


@dataclass(frozen=True, slots=True)
class Scale:
    """The scale of all adapters."""

    scale: float
    device: torch.device
    """That it is sent from."""
    name: str = SCALE
    parts: tuple[nn.Parameter, ...] = ()
    dtype: torch.dtype = torch.uint8
    shape: torch.Size = torch.Size((8,))  # noqa: RUF009 - a size is a tuple

    def value(self) -> torch.Tensor:
        """The number's bytes."""
        return pack_scale(self.scale).to(self.device)


def adapter_parts(weights: Sequence[Weight]) -> tuple[list[Sendable], list[Sendable]]:
    """What engines are to keep of some matrices, and what changes of them with every step.

    Args:
        weights: matrices with adapters and those that are fused with one of them.
    """
    adapted = next(weight for weight in weights if weight.is_adapted)
    bases = [
        Weight(weight.name.removesuffix(".weight") + BASE, (weight.whole,)) for weight in weights
    ]
    scale = Scale(adapted.scale, adapted.whole.device)
    return [scale, *bases], [Adapter(weight) for weight in weights]
