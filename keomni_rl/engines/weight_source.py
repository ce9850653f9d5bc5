"""The learner's weights as vLLM wants them: named, whole, in order, gathered from ZeRO-3 shards.

Most of a network may never change: a frozen audio tower, everything beside the adapters.
`LearnerWeights` keeps that part apart, so that engines get it once and the rest with every step.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from math import prod

import deepspeed
import torch
from vllm.distributed.weight_transfer.base import ParamMeta, WeightSource

from keomni_rl.engines.adapter_parts import Sendable, adapter_parts
from keomni_rl.models.adapters import Weight, whole_shape

GATHER_BYTES = 512 * 2**20
"""Parameters gathered at once under ZeRO-3; each gather is one collective."""
FUSED = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))
"""Matrices of one layer that vLLM keeps in one parameter, in every family that we have.

Its reload makes such a parameter anew from what an update brings, so that a missing part would be
left as uninitialized memory: they are sent together or not at all. A missing bias is kept.
"""


class ZeroWeightSource(WeightSource):
    """Weights of a network under their wire names, whatever the ZeRO stage.

    All ranks iterate in lockstep: under ZeRO-3 each bucket is a collective. A bucket is gathered
    whole before any of it is yielded and released after the last, so a sender that blocks between
    two tensors holds no half-finished collective.

    Args:
        weights: what is sent.
        wire_name: in-memory name -> the name that vLLM loads it under.
    """

    def __init__(self, weights: Iterable[Sendable], wire_name: Callable[[str], str]) -> None:
        self._weights = [(wire_name(weight.name), weight) for weight in weights]

    def metadata(self) -> list[ParamMeta]:
        """Names, dtypes and whole shapes, without a gather."""
        return [
            ParamMeta(name, weight.dtype, tuple(weight.shape)) for name, weight in self._weights
        ]

    def __iter__(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Yield whole tensors in the order of `metadata`."""
        for bucket in self._buckets():
            params = [part for _, weight in bucket for part in weight.parts]
            is_sharded = any(hasattr(p, "ds_id") for p in params)
            with deepspeed.zero.GatheredParameters(params, enabled=is_sharded):
                for name, weight in bucket:
                    yield name, weight.value()

    def _buckets(self) -> Iterator[list[tuple[str, Sendable]]]:
        bucket: list[tuple[str, Sendable]] = []
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


class LearnerWeights(WeightSource):
    """All weights of the learner: first those that never change, then those that do.

    - `frozen`: never change, and engines load them once.
    - `kept`: the matrices that adapters are on, which engines keep to merge adapters with.
    - `changing`: what a step may have changed. The adapters alone, where there are any.

    Args:
        weights: of the whole network.
        wire_name: in-memory name -> the name that vLLM loads it under.
    """

    def __init__(self, weights: Iterable[Weight], wire_name: Callable[[str], str]) -> None:
        weights = list(weights)
        names = _with_fused(weight.name for weight in weights if weight.is_trained)
        learning = [weight for weight in weights if weight.name in names]
        kept: Sequence[Sendable] = ()
        changing: Sequence[Sendable] = learning
        if any(weight.is_adapted for weight in learning):
            kept, changing = adapter_parts(learning)
        self.frozen = ZeroWeightSource((w for w in weights if w.name not in names), wire_name)
        self.kept = ZeroWeightSource(kept, wire_name)
        self.changing = ZeroWeightSource(changing, wire_name)

    def metadata(self) -> list[ParamMeta]:
        """Of all parts."""
        return [*self.frozen.metadata(), *self.kept.metadata(), *self.changing.metadata()]

    def __iter__(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Yield all parts in the order of `metadata`."""
        return chain(self.frozen, self.kept, self.changing)


def _with_fused(names: Iterable[str]) -> set[str]:
    """The names and those of what is fused with one of them."""
    found = set()
    for name in names:
        module, _, kind = name.rpartition(".")
        parent, _, layer = module.rpartition(".")
        beside = next((group for group in FUSED if layer in group), (layer,))
        found |= {f"{parent}.{other}.{kind}" for other in beside} if parent else {name}
    return found


def num_bytes(metas: Iterable[ParamMeta]) -> int:
    """What tensors take together."""
    return sum(prod(meta.shape) * meta.dtype.itemsize for meta in metas)
