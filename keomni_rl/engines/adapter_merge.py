"""Low-rank adapters merged where they are used: in an engine, before vLLM loads the weights.

The learner sends the matrices that adapters are on once, and with every step A and B alone. An
engine keeps the matrices and merges as the learner does (`keomni_rl.models.adapters.merge`), so
that it samples with the weights which the learner scores with and an exported model has. vLLM is
handed whole matrices under their own names and knows of no adapter.

What travels, beside weights that are as vLLM loads them:

- ``lora_scale``: alpha / rank, the eight bytes of a float64. As bytes it is at home anywhere in
  vLLM's packed buffers, which align nothing.
- ``<layer>.base_layer.weight``: W [out, in], kept and not loaded.
- ``<layer>.lora.weight``: A [rank, in] and B [out, rank] in one tensor [rank, in + out], so that
  no two parts of one can be met apart. Rank 0 stands for W itself: of a matrix without an adapter
  that vLLM fuses with one that has.
"""

from collections.abc import Iterable, Iterator

import torch

from keomni_rl.errors import WeightSyncError
from keomni_rl.models.adapters import BASE, SCALE, merge

ADAPTER = ".lora.weight"


class AdapterMerger:
    """One engine's side: what it keeps, and the weights that come of it.

    Args:
        device: that merging is done on.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._bases: dict[str, torch.Tensor] = {}
        self._scale = 0.0

    def merged(
        self, weights: Iterable[tuple[str, torch.Tensor]]
    ) -> Iterator[tuple[str, torch.Tensor]]:
        """What vLLM is to load of what has come, one tensor after the other.

        Raises:
            WeightSyncError: an adapter is on a matrix that never came.
        """
        for name, tensor in weights:
            if name.endswith(SCALE):
                self._scale = unpack_scale(tensor)
            elif name.endswith(BASE):
                self._bases[name.removesuffix(BASE)] = _kept(tensor)
            elif name.endswith(ADAPTER):
                layer = name.removesuffix(ADAPTER)
                yield f"{layer}.weight", self._merge(layer, tensor)
            else:
                yield name, tensor

    def _merge(self, layer: str, adapter: torch.Tensor) -> torch.Tensor:
        if layer not in self._bases:
            raise WeightSyncError(
                f"an adapter came for {layer}.weight, which this engine was never sent; the first "
                "transfer to an engine must be of all weights"
            )
        base = self._bases[layer].to(self._device, non_blocking=True)
        if not len(adapter):
            return base
        down, up = split_adapter(adapter.to(self._device), base.shape[1])
        return merge(base, down, up, self._scale)


def _kept(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor in the host's memory.

    On CPU it is a view of memory that the learner has packed for good, and that lasts for as long
    as it is mapped here, whatever becomes of the learner.
    """
    if tensor.device.type == "cpu":
        return tensor
    return torch.empty_like(tensor, device="cpu", pin_memory=True).copy_(tensor)


def join_adapter(down: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
    """A [rank, in] and B [out, rank] as one tensor [rank, in + out]."""
    return torch.cat([down, up.T], dim=1)


def split_adapter(joined: torch.Tensor, num_in: int) -> tuple[torch.Tensor, torch.Tensor]:
    """What `join_adapter` was given, in the same order in memory: sums are rounded alike."""
    return joined[:, :num_in].contiguous(), joined[:, num_in:].T.contiguous()


def pack_scale(scale: float) -> torch.Tensor:
    """A number's bytes: [8]."""
    return torch.tensor([scale], dtype=torch.float64).view(torch.uint8)


def unpack_scale(packed: torch.Tensor) -> float:
    """What `pack_scale` was given."""
    return packed.cpu().clone().view(torch.float64).item()


def loaded_names(sent: Iterable[str]) -> list[str]:
    """The names that vLLM loads weights under, of all that is sent to a fresh engine."""
    return [
        f"{name.removesuffix(BASE)}.weight" if name.endswith(BASE) else name
        for name in sent
        if not name.endswith((SCALE, ADAPTER))
    ]
