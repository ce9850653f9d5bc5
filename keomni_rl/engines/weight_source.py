"""The learner's weights as vLLM wants them: named, whole, in order, gathered from ZeRO-3 shards."""

from collections.abc import Callable, Iterable, Iterator

import deepspeed
import torch
from torch import nn
from vllm.distributed.weight_transfer.base import ParamMeta, WeightSource

from keomni_rl.models.adapters import Weight

GATHER_BYTES = 512 * 2**20
"""Parameters gathered at once under ZeRO-3; each gather is one collective."""


class ZeroWeightSource(WeightSource):
    """Every weight of a network under its wire name, whatever the ZeRO stage.

    All ranks iterate in lockstep: under ZeRO-3 each bucket is a collective. A bucket is gathered
    whole before any of it is yielded and released after the last, so a sender that blocks between
    two tensors holds no half-finished collective.

    Args:
        weights: what is sent, adapters merged.
        wire_name: in-memory name -> the name that vLLM loads it under.
    """

    def __init__(self, weights: Iterable[Weight], wire_name: Callable[[str], str]) -> None:
        self._weights = [(wire_name(weight.name), weight) for weight in weights]

    def metadata(self) -> list[ParamMeta]:
        """Names, dtypes and whole shapes, without a gather."""
        return [
            ParamMeta(name, weight.whole.dtype, tuple(whole_shape(weight.whole)))
            for name, weight in self._weights
        ]

    def __iter__(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Yield whole tensors in the order of `metadata`."""
        for bucket in self._buckets():
            params = [part for _, weight in bucket for part in weight.parts]
            is_sharded = any(hasattr(p, "ds_id") for p in params)
            with deepspeed.zero.GatheredParameters(params, enabled=is_sharded):
                for name, weight in bucket:
                    yield name, weight.value()

    def _buckets(self) -> Iterator[list[tuple[str, Weight]]]:
        bucket: list[tuple[str, Weight]] = []
        size = 0
        for name, weight in self._weights:
            num_bytes = sum(whole_shape(p).numel() * p.element_size() for p in weight.parts)
            if bucket and size + num_bytes > GATHER_BYTES:
                yield bucket
                bucket, size = [], 0
            bucket.append((name, weight))
            size += num_bytes
        if bucket:
            yield bucket


def whole_shape(param: nn.Parameter) -> torch.Size:
    """The shape before ZeRO-3 took the parameter apart."""
    shape: torch.Size = getattr(param, "ds_shape", param.shape)
    return shape
