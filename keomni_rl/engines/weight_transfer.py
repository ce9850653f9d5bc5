"""Opens the way weights take from learner to engines: vLLM's NCCL or IPC, or our own on CPU.

What their order of calls allows to overlap: ``nccl`` pauses the engines first and then gathers,
packs and broadcasts bucket by bucket, two buffers in turn, so that one is gathered and packed while
the other is on the wire; the pause covers all of it. ``ipc`` takes turns by its nature: pack one
buffer, let the engines load it. ``cpu`` has packed everything before the engines pause.
"""

from dataclasses import dataclass
from typing import Literal

from vllm.distributed.weight_transfer.base import (
    ParamMeta,
    TrainerInitInfo,
    TrainerWeightTransferEngine,
    VLLMWeightSyncClient,
    WeightSource,
)
from vllm.distributed.weight_transfer.factory import WeightTransferTrainerFactory

from keomni_rl.engines.cpu_weight_sender import CpuTrainerInitInfo
from keomni_rl.engines.cpu_weight_transfer import register
from keomni_rl.engines.network import held_port
from keomni_rl.engines.packed_weights import Packed
from keomni_rl.engines.weight_source import GATHER_BYTES, num_bytes

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
    frozen: dict[WeightSource, Packed | None]
    """What this rank has packed for good, on the way to any engines."""


def open_transfer(
    transfer: Transfer, client: VLLMWeightSyncClient, source: WeightSource
) -> TrainerWeightTransferEngine:
    """Meet the engines and return the sender; every learner rank calls it."""
    register()
    with held_port(transfer.address) as port:
        return WeightTransferTrainerFactory.trainer_init(
            init_info(transfer, port, source.metadata()), client=client, source=source
        )


def init_info(transfer: Transfer, port: int, metas: list[ParamMeta]) -> TrainerInitInfo:
    """What vLLM's trainer side of a backend is to know.

    Args:
        transfer: the way to open.
        port: for a rendezvous, on the transfer's address.
        metas: of all that will be sent.
    """
    if transfer.backend == "cpu":
        return CpuTrainerInitInfo(rank=transfer.rank, frozen=transfer.frozen)
    if transfer.backend == "nccl":
        from vllm.distributed.weight_transfer.nccl_engine import NCCLTrainerInitInfo

        return NCCLTrainerInitInfo(
            master_address=transfer.address,
            master_port=port,
            world_size=1 + transfer.num_engine_workers,
            packed=True,
            packed_buffer_size_bytes=GATHER_BYTES,
            rank=transfer.rank,
        )
    from vllm.distributed.weight_transfer.ipc_engine import IPCTrainerInitInfo

    # A tensor has to fit whole: the embeddings of a 7B are larger than vLLM's default of 1 GiB.
    largest = max(num_bytes([meta]) for meta in metas)
    return IPCTrainerInitInfo(
        packed=True, packed_buffer_size_bytes=max(GATHER_BYTES, largest), rank=transfer.rank
    )
