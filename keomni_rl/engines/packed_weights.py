"""Many tensors in one piece of shared memory, and how a receiver takes them apart."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Self

import torch
from vllm.distributed.weight_transfer.base import ParamMeta, WeightSource

from keomni_rl.engines.shared_buffer import OpenBuffers, SharedBuffer

ALIGNMENT_BYTES = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """Weights of the learner in memory that others can map, behind each other."""

    metas: Sequence[ParamMeta]
    offsets: Sequence[int]
    """Of each tensor, in bytes."""
    buffer: SharedBuffer
    is_frozen: bool
    """They never change: who has got them needs them no more."""

    @classmethod
    def room_for(cls, metas: Sequence[ParamMeta], *, is_frozen: bool) -> Self:
        """Memory for some tensors, at least one, without content yet."""
        offsets, end = [], 0
        for meta in metas:
            offsets.append(end)
            size = math.prod(meta.shape) * meta.dtype.itemsize
            end += -(-size // ALIGNMENT_BYTES) * ALIGNMENT_BYTES
        return cls(metas=metas, offsets=offsets, buffer=SharedBuffer(end), is_frozen=is_frozen)

    @property
    def num_bytes(self) -> int:
        """Of the whole buffer."""
        return self.buffer.bytes.numel()

    def describe(self) -> dict[str, Any]:
        """What a receiver has to know to take the buffer apart."""
        return {
            "names": [m.name for m in self.metas],
            "dtype_names": [str(m.dtype).removeprefix("torch.") for m in self.metas],
            "shapes": [list(m.shape) for m in self.metas],
            "offsets": list(self.offsets),
        }

    def fill(self, source: WeightSource) -> None:
        """Copy the tensors of a source in; each one's content goes through memory once.

        Raises:
            ValueError: the source yields something else than it had declared.
        """
        views = unpack(self.describe(), self.buffer.bytes)
        for (name, view), (yielded, tensor) in zip(views, source, strict=True):
            if (yielded, tensor.dtype, tensor.shape) != (name, view.dtype, view.shape):
                raise ValueError(
                    f"the source yielded {yielded} {tensor.dtype} {list(tensor.shape)} where it "
                    f"had declared {name} {view.dtype} {list(view.shape)}"
                )
            view.copy_(tensor.detach())


def unpack(
    described: Mapping[str, Any], buffer: torch.Tensor
) -> Iterator[tuple[str, torch.Tensor]]:
    """Views of a buffer by name, from what `Packed.describe` says of it."""
    fields = (described[key] for key in ("names", "dtype_names", "shapes", "offsets"))
    for name, dtype_name, shape, offset in zip(*fields, strict=True):
        dtype = getattr(torch, dtype_name)
        size = math.prod(shape) * dtype.itemsize
        yield name, buffer[offset : offset + size].view(dtype).view(shape)


class Unpacker:
    """Takes apart what others have packed, see `OpenBuffers`."""

    def __init__(self) -> None:
        self._buffers = OpenBuffers()

    def unpack(self, parts: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, torch.Tensor]]:
        """Every tensor of some parts by name, not to be written to.

        Args:
            parts: of each what `Packed.describe` says, and under ``path`` where it is here.
        """
        buffers = self._buffers.open([part["path"] for part in parts])
        return chain.from_iterable(map(unpack, parts, buffers))
