"""Opens the way weights take from learner to engines: vLLM's NCCL or IPC, or our own on CPU."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from vllm.distributed.weight_transfer.base import (
    TrainerWeightTransferEngine,
    VLLMWeightSyncClient,
    WeightSource,
)
from vllm.distributed.weight_transfer.factory import WeightTransferTrainerFactory

from keomni_rl.engines.cpu_weight_transfer import CpuTrainerInitInfo, register
from keomni_rl.engines.network import free_port

Backend = Literal["cpu", "nccl", "ipc"]
COLLECTIVE: frozenset[Backend] = frozenset({"nccl"})
"""Backends in which every receiver has to be there for any to get anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """One learner rank's end of the way to one set of engines."""

    backend: Backend
    rank: int
    """Of this learner rank; 0 sends."""
    address: str
    """Of this rank's node, for the engines to meet it at."""
    num_engine_workers: int
    """GPUs of all receiving engines together."""


def open_transfer(
    transfer: Transfer, client: VLLMWeightSyncClient, source: WeightSource
) -> TrainerWeightTransferEngine:
    """Meet the engines and return the sender; every learner rank calls it."""
    register()
    return WeightTransferTrainerFactory.trainer_init(
        INIT_INFOS[transfer.backend](transfer), client=client, source=source
    )


def _cpu(transfer: Transfer) -> Any:
    return CpuTrainerInitInfo(rank=transfer.rank)


def _nccl(transfer: Transfer) -> Any:
    from vllm.distributed.weight_transfer.nccl_engine import NCCLTrainerInitInfo

    return NCCLTrainerInitInfo(
        master_address=transfer.address,
        master_port=free_port(),
        world_size=1 + transfer.num_engine_workers,
        packed=True,
        rank=transfer.rank,
    )


def _ipc(transfer: Transfer) -> Any:
    from vllm.distributed.weight_transfer.ipc_engine import IPCTrainerInitInfo

    return IPCTrainerInitInfo(rank=transfer.rank)


INIT_INFOS: dict[Backend, Callable[[Transfer], Any]] = {"cpu": _cpu, "nccl": _nccl, "ipc": _ipc}
