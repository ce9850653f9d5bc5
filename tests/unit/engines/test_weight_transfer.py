"""What vLLM's trainer sides are told, against their real signatures."""

import dataclasses

import pytest
import torch
from vllm.config.weight_transfer import WeightTransferConfig
from vllm.distributed.weight_transfer.base import ParamMeta
from vllm.distributed.weight_transfer.factory import (
    WeightTransferEngineFactory,
    WeightTransferTrainerFactory,
)
from vllm.distributed.weight_transfer.nccl_common import NCCLWeightTransferInitInfo

from keomni_rl.config.schema import LearnerConfig
from keomni_rl.engines.cpu_weight_sender import CpuTrainerWeightTransferEngine
from keomni_rl.engines.cpu_weight_transfer import receiver_name, register
from keomni_rl.engines.weight_source import GATHER_BYTES, LearnerWeights, num_bytes
from keomni_rl.engines.weight_transfer import Transfer, init_info, open_transfer
from keomni_rl.models.adapters import choose_trained, merged_weights
from keomni_rl.models.family import find_family

EMBEDDINGS = ParamMeta("embed", torch.bfloat16, (152_064, 3584))
"""Of Qwen2.5-Omni-7B."""
NORM = ParamMeta("norm", torch.bfloat16, (3584,))


def transfer(backend, rank=0):
    return Transfer(backend=backend, rank=rank, address="10.0.0.1", num_engine_workers=6, frozen={})


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("backend", ["cpu", "nccl", "ipc"])
def test_vllm_finds_the_backend_by_what_it_is_told(backend, rank):
    register()
    info = init_info(transfer(backend, rank), 1234, [NORM])
    assert type(info).backend == backend
    assert info.is_sender == (rank == 0)
    assert backend in WeightTransferTrainerFactory._registry
    receiver = receiver_name(backend)
    assert receiver in WeightTransferEngineFactory._registry
    assert WeightTransferConfig(backend=receiver).backend == receiver


def test_nccl_counts_the_learner_once_and_packs_what_is_gathered_at_once():
    info = init_info(transfer("nccl"), 1234, [NORM])
    assert (info.master_address, info.master_port, info.world_size) == ("10.0.0.1", 1234, 7)
    assert info.packed
    assert info.packed_buffer_size_bytes == GATHER_BYTES
    told = {f.name: getattr(info, f.name) for f in dataclasses.fields(info) if f.name != "rank"}
    NCCLWeightTransferInitInfo(rank_offset=1, **told)  # what each engine is told in turn


def test_ipc_has_room_for_the_largest_tensor():
    assert init_info(transfer("ipc"), 0, [NORM]).packed_buffer_size_bytes == GATHER_BYTES
    info = init_info(transfer("ipc"), 0, [NORM, EMBEDDINGS])
    assert info.packed
    assert info.packed_buffer_size_bytes == num_bytes([EMBEDDINGS]) > 2**30


class Recorder:
    """A client that notes what is called, and what staged memory held then."""

    def __init__(self):
        self.calls, self.staged = [], []

    def __getattr__(self, name):
        return lambda *_: self.calls.append(name)

    def stage_weights(self, parts):
        self.calls.append("stage_weights")
        self.staged.append([(part.is_frozen, part.metas) for part in parts])


def learner(tiny_model):
    family = find_family(tiny_model)
    network = family.load(tiny_model, torch.float32)
    choose_trained(network, family, LearnerConfig(trained="without_audio_tower"), seed=0)
    return LearnerWeights(merged_weights(network, None), family.wire_name)


def open_at_home(client, source, frozen):
    there = Transfer(
        backend="cpu", rank=0, address="127.0.0.1", num_engine_workers=1, frozen=frozen
    )
    return open_transfer(there, client, source)


def test_all_is_packed_before_any_engine_pauses_and_frozen_weights_once(tiny_model):
    source, frozen = learner(tiny_model), {}
    rollouts, evaluators = Recorder(), Recorder()
    for client in (rollouts, evaluators):
        sender = open_at_home(client, source, frozen)
        assert isinstance(sender, CpuTrainerWeightTransferEngine)
        sender.send_weights()
        sender.source = source.changing
        sender.send_weights()
        assert client.calls == ["init_weight_transfer_engine"] + 2 * [
            *("stage_weights", "start_weight_update", "update_weights", "finish_weight_update")
        ]
        changing = (False, source.changing.metadata())
        assert client.staged == [[(True, source.frozen.metadata()), changing], [changing]]
    assert frozen[source.frozen].metas == source.frozen.metadata()
    assert frozen[source.kept] is None  # without adapters
