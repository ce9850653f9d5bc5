"""A vLLM weight-transfer backend for machines without GPUs: packed buffers in shared memory.

vLLM ships NCCL and CUDA IPC; this adds ``cpu`` through the same factories, so that nothing else
in the system knows the difference. The learner packs weights straight into memory that engines of
its machine map, before any of them pauses: the pause is the loading alone, and the number of calls
depends neither on that of parameters nor the number of copies on that of engines.
`keomni_rl.engines.cpu_weight_sender` is the learner's side, this file the engine's.
"""

import logging
from dataclasses import dataclass
from typing import Any

from vllm.distributed.weight_transfer.base import (
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

from keomni_rl.engines.kept_clips import keep_clips
from keomni_rl.engines.lifeline import watch_lifeline
from keomni_rl.engines.model_loader import register_load_format
from keomni_rl.engines.packed_weights import Unpacker

BACKEND = "cpu"
SENDER = "keomni_rl.engines.cpu_weight_sender"
"""Imported by the learner alone: the engines' processes need no DeepSpeed."""
RECEIVERS = "keomni_rl.engines.merging_engines"
RECEIVER_OF = {"cpu": "CpuEngine", "nccl": "NcclEngine", "ipc": "IpcEngine"}


RELOAD_LOG = "vllm.model_executor.model_loader.reload.layerwise"


def register() -> None:
    """What vLLM calls in each of its processes: backend and load format known, parent watched."""
    watch_lifeline()
    keep_clips()
    logging.getLogger(RELOAD_LOG).addFilter(_is_no_untouched_layer)
    register_load_format()
    if BACKEND not in WeightTransferTrainerFactory._registry:
        for backend, receiver in RECEIVER_OF.items():
            WeightTransferEngineFactory.register_engine(receiver_name(backend), RECEIVERS, receiver)
        WeightTransferTrainerFactory.register_engine(
            BACKEND, SENDER, "CpuTrainerWeightTransferEngine"
        )


def receiver_name(backend: str) -> str:
    """What vLLM knows the engines' side of a backend by; its own names are taken."""
    return f"keomni_rl_{backend}"


def _is_no_untouched_layer(record: logging.LogRecord) -> bool:
    """Not vLLM's warning of every layer that an update brings nothing for, as it may well be."""
    return "Failed to load weights" not in record.msg


@dataclass
class CpuInitInfo(WeightTransferInitInfo):
    """The rendezvous needs nothing: the buffer's address comes with each update."""


@dataclass
class CpuUpdateInfo(WeightTransferUpdateInfo):
    """The buffers to load from."""

    parts: list[dict[str, Any]]
    """Of each what `Packed.describe` says, and under ``path`` where this machine has it."""


class CpuWeightTransferEngine(WeightTransferEngine[CpuInitInfo, CpuUpdateInfo]):
    """The worker side, inside vLLM's engine process."""

    init_info_cls = CpuInitInfo
    update_info_cls = CpuUpdateInfo
    _unpacker: Unpacker

    def init_transfer_engine(self, init_info: CpuInitInfo) -> None:  # noqa: ARG002
        """Nobody to meet."""
        self._unpacker = Unpacker()

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
        """Load every tensor from its view of the mapped buffers."""
        self.model.load_weights(self._unpacker.unpack(update_info.parts))

    def shutdown(self) -> None:
        """Nothing is held."""
