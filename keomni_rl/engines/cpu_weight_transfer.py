"""A vLLM weight-transfer backend for machines without GPUs: one packed buffer in shared memory.

vLLM ships NCCL and CUDA IPC; this adds ``cpu`` through the same factories, so that nothing else
in the system knows the difference. The trainer side packs all weights into one byte buffer and
hands it to the client once: the number of calls does not depend on the number of parameters. The
worker side maps a file and loads tensors that are views of it.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import torch
from vllm.distributed.weight_transfer.base import (
    ParamMeta,
    TrainerInitInfo,
    TrainerWeightTransferEngine,
    VLLMWeightSyncClient,
    WeightSource,
    WeightTransferEngine,
    WeightTransferInitInfo,
    WeightTransferUpdateInfo,
)
from vllm.distributed.weight_transfer.factory import (
    WeightTransferEngineFactory,
    WeightTransferTrainerFactory,
)
from vllm.model_executor.model_loader.reload import (
    finalize_layerwise_reload,
    initialize_layerwise_reload,
)

from keomni_rl.engines.lifeline import watch_lifeline
from keomni_rl.engines.model_loader import register_load_format

BACKEND = "cpu"
ALIGNMENT_BYTES = 64


def register() -> None:
    """What vLLM calls in each of its processes: backend and load format known, parent watched."""
    watch_lifeline()
    register_load_format()
    if BACKEND not in WeightTransferEngineFactory._registry:
        WeightTransferEngineFactory.register_engine(BACKEND, CpuWeightTransferEngine)
        WeightTransferTrainerFactory.register_engine(BACKEND, CpuTrainerWeightTransferEngine)


@dataclass
class CpuInitInfo(WeightTransferInitInfo):
    """The rendezvous needs nothing: the buffer's address comes with each update."""


@dataclass
class CpuUpdateInfo(WeightTransferUpdateInfo):
    """Where the packed weights lie and what they are."""

    path: str
    """File in memory that holds the buffer."""
    names: list[str]
    dtype_names: list[str]
    shapes: list[list[int]]
    offsets: list[int]
    """Of each tensor in the buffer, in bytes."""


class CpuWeightTransferEngine(WeightTransferEngine[CpuInitInfo, CpuUpdateInfo]):
    """The worker side, inside vLLM's engine process."""

    init_info_cls = CpuInitInfo
    update_info_cls = CpuUpdateInfo

    def init_transfer_engine(self, init_info: CpuInitInfo) -> None:
        """Nothing to meet."""

    def start_weight_update(self) -> None:
        """Prepare the model to take checkpoint-format weights."""
        initialize_layerwise_reload(self.model)

    def finish_weight_update(self) -> None:
        """Bring the loaded weights into the form that the kernels use."""
        finalize_layerwise_reload(self.model, self.model_config)

    def update_weights(self, update_info: dict[str, Any]) -> None:
        """Load one buffer; the base class would synchronize an accelerator that is not there."""
        self.receive_weights(self.parse_update_info(update_info))

    def receive_weights(self, update_info: CpuUpdateInfo) -> None:
        """Load every tensor from its view of the mapped file."""
        buffer = np.memmap(update_info.path, dtype=np.uint8, mode="c")
        self.model.load_weights(_unpack(torch.from_numpy(buffer), update_info))

    def shutdown(self) -> None:
        """Nothing is held."""


@dataclass
class CpuTrainerInitInfo(TrainerInitInfo):
    """Trainer-side choice of this backend."""

    backend: ClassVar[str] = BACKEND


class CpuTrainerWeightTransferEngine(TrainerWeightTransferEngine[CpuTrainerInitInfo]):
    """The learner side: every rank iterates the source, rank 0 packs and sends."""

    init_info_cls = CpuTrainerInitInfo
    source: WeightSource

    @classmethod
    def trainer_init(
        cls,
        init_info: CpuTrainerInitInfo,
        *,
        client: VLLMWeightSyncClient,
        source: WeightSource | None = None,
    ) -> Self:
        """Bind source and client; there is no communicator to open."""
        if source is None:
            raise ValueError("the cpu backend sends whole models and needs a WeightSource")
        engine = cls(client=client, source=source, is_sender=init_info.is_sender)
        if engine.is_sender:
            client.init_weight_transfer_engine({})
        return engine

    def send_weights(self) -> None:
        """Gather, pack, start, update, finish."""
        if not self.is_sender:
            for _ in self.source:  # the gather is a collective
                pass
            return
        layout = _Layout.of(self.source.metadata())
        buffer = np.empty(layout.num_bytes, np.uint8)
        for meta, offset, (name, tensor) in zip(
            layout.metas, layout.offsets, self.source, strict=True
        ):
            if name != meta.name:
                raise ValueError(f"the source yielded {name!r} where it had declared {meta.name!r}")
            data = tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy()
            buffer[offset : offset + data.nbytes] = data
        self.client.start_weight_update()
        self.client.update_weights(layout.describe() | {"buffer": buffer})
        self.client.finish_weight_update()


@dataclass(frozen=True)
class _Layout:
    metas: list[ParamMeta]
    offsets: list[int]
    num_bytes: int

    @classmethod
    def of(cls, metas: list[ParamMeta]) -> Self:
        offsets, end = [], 0
        for meta in metas:
            offsets.append(end)
            size = math.prod(meta.shape) * meta.dtype.itemsize
            end += -(-size // ALIGNMENT_BYTES) * ALIGNMENT_BYTES
        return cls(metas, offsets, end)

    def describe(self) -> dict[str, Any]:
        return {
            "names": [m.name for m in self.metas],
            "dtype_names": [str(m.dtype).removeprefix("torch.") for m in self.metas],
            "shapes": [list(m.shape) for m in self.metas],
            "offsets": self.offsets,
        }


def _unpack(buffer: torch.Tensor, info: CpuUpdateInfo) -> Iterator[tuple[str, torch.Tensor]]:
    fields = (info.names, info.dtype_names, info.shapes, info.offsets)
    for name, dtype_name, shape, offset in zip(*fields, strict=True):
        dtype = getattr(torch, dtype_name)
        size = math.prod(shape) * dtype.itemsize
        yield name, buffer[offset : offset + size].view(dtype).view(shape)
