"""The learner's weights as vLLM wants them: named, whole, in order, gathered from ZeRO-3 shards."""

from collections.abc import Iterator

import deepspeed
import torch
from torch import nn
from vllm.distributed.weight_transfer.base import ParamMeta, WeightSource

GATHER_BYTES = 512 * 2**20
"""Parameters gathered at once under ZeRO-3; each gather is one collective."""


class ZeroWeightSource(WeightSource):
    """Every parameter of a network under its wire name, whatever the ZeRO stage.

    All ranks iterate in lockstep: under ZeRO-3 each bucket is a collective. A bucket is gathered
    whole before any of it is yielded and released after the last, so a sender that blocks between
    two tensors holds no half-finished collective.
    """

    def __init__(self, network: nn.Module, wire_prefix: str) -> None:
        self._params = [(wire_prefix + n, p) for n, p in network.named_parameters()]

    def metadata(self) -> list[ParamMeta]:
        """Names, dtypes and whole shapes, without a gather."""
        return [ParamMeta(name, p.dtype, tuple(whole_shape(p))) for name, p in self._params]

    def __iter__(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Yield whole tensors in the order of `metadata`."""
        for bucket in self._buckets():
            params = [p for _, p in bucket]
            is_sharded = any(hasattr(p, "ds_id") for p in params)
            with deepspeed.zero.GatheredParameters(params, enabled=is_sharded):
                for name, param in bucket:
                    yield name, param.detach()

    def _buckets(self) -> Iterator[list[tuple[str, nn.Parameter]]]:
        bucket: list[tuple[str, nn.Parameter]] = []
        size = 0
        for name, param in self._params:
            num_bytes = whole_shape(param).numel() * param.element_size()
            if bucket and size + num_bytes > GATHER_BYTES:
                yield bucket
                bucket, size = [], 0
            bucket.append((name, param))
            size += num_bytes
        if bucket:
            yield bucket


def whole_shape(param: nn.Parameter) -> torch.Size:
    """The shape before ZeRO-3 took the parameter apart."""
    shape: torch.Size = getattr(param, "ds_shape", param.shape)
    return shape
