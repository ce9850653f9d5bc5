"""Adapters on their way: what the learner yields becomes, in an engine, the learner's weights."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn
from vllm.distributed.weight_transfer.factory import WeightTransferEngineFactory
from vllm.distributed.weight_transfer.ipc_engine import IPCWeightTransferEngine
from vllm.distributed.weight_transfer.nccl_engine import NCCLWeightTransferEngine

from keomni_rl.config.schema import LearnerConfig, LoraConfig
from keomni_rl.engines.adapter_merge import (
    AdapterMerger,
    join_adapter,
    loaded_names,
    pack_scale,
    split_adapter,
    unpack_scale,
)
from keomni_rl.engines.cpu_weight_transfer import (
    CpuInitInfo,
    CpuUpdateInfo,
    CpuWeightTransferEngine,
    receiver_name,
    register,
)
from keomni_rl.engines.merging_engines import CpuEngine, MergesAdapters
from keomni_rl.engines.packed_weights import Packed
from keomni_rl.engines.weight_source import LearnerWeights, num_bytes
from keomni_rl.errors import WeightSyncError
from keomni_rl.models.adapters import choose_trained, lora_scale, merged_weights
from keomni_rl.models.family import find_family

CPU = torch.device("cpu")


class Learner:
    """A tiny network with adapters that have learnt something already.

    Every other layer that vLLM fuses with one of their targets has none.
    """

    def __init__(self, model, dtype):
        lora = LoraConfig(rank=6, alpha=32, targets=("q_proj", "v_proj", "up_proj", "down_proj"))
        config = LearnerConfig(trained="lora", lora=lora)
        self.family = find_family(model)
        self.network = self.family.load(model, dtype)
        choose_trained(self.network, self.family, config, seed=0)
        self.weights = list(merged_weights(self.network, lora_scale(config)))
        self.source = LearnerWeights(self.weights, self.family.wire_name)
        self.learn()

    def learn(self):
        for parameter in self.network.parameters():
            if parameter.requires_grad:
                nn.init.normal_(parameter, std=0.1)

    def merged(self):
        return {self.family.wire_name(w.name): w.value().clone() for w in self.weights}


@pytest.fixture(params=[torch.float32, torch.bfloat16], ids=str)
def learner(tiny_model, request):
    return Learner(tiny_model, request.param)


def differences(loaded, wanted):
    """Names under which other bits were loaded."""
    return [name for name, tensor in loaded.items() if not torch.equal(tensor, wanted[name])]


def test_an_engine_merges_to_the_very_bits_of_the_learner(learner):
    merger = AdapterMerger(CPU)
    wanted = learner.merged()
    first = dict(merger.merged(learner.source))
    assert set(first) == set(wanted)
    assert differences(first, wanted) == []
    learner.learn()
    changed = learner.merged()
    then = dict(merger.merged(learner.source.changing))
    assert set(then) < set(changed)
    assert differences(then, changed) == []
    assert differences(wanted, changed | then) == differences(wanted, changed) != []


def test_each_weight_is_handed_on_once_however_a_transfer_is_cut(learner):
    merger = AdapterMerger(CPU)
    loaded = [name for sent in learner.source for name, _ in merger.merged([sent])]
    assert sorted(loaded) == sorted(learner.merged())
    assert sorted(loaded_names(m.name for m in learner.source.metadata())) == sorted(loaded)


def test_a_step_sends_the_adapters_and_nothing_else(learner):
    trained = [p for p in learner.network.parameters() if p.requires_grad]
    sent = learner.source.changing.metadata()
    assert num_bytes(sent) == sum(p.nbytes for p in trained)
    assert all(meta.name.endswith(".lora.weight") for meta in sent)


def test_an_adapter_on_nothing_is_refused_by_name(learner):
    with pytest.raises(WeightSyncError, match=r"adapter came for thinker.*_proj.weight.*never"):
        dict(AdapterMerger(CPU).merged(learner.source.changing))


@pytest.mark.parametrize("scale", [2.0, 32 / 6, 1e-3])
def test_a_scale_travels_whole(scale):
    assert unpack_scale(pack_scale(scale)) == scale
    odd = torch.cat([torch.zeros(3, dtype=torch.uint8), pack_scale(scale)])[3:]
    assert unpack_scale(odd) == scale  # at any place of a buffer


def test_what_was_joined_comes_apart_as_it_was():
    down, up = torch.randn(3, 5), torch.randn(4, 3)
    joined = join_adapter(down, up)
    assert joined.shape == (3, 9)
    for part, original in zip(split_adapter(joined, 5), (down, up)):
        assert torch.equal(part, original)
        assert part.stride() == original.stride()


class Model(nn.Module):
    """Remembers what it was to load."""

    def load_weights(self, weights):
        self.loaded = dict(weights)


@pytest.fixture
def engine():
    config = SimpleNamespace(parallel_config=None, model_config=None)
    return CpuEngine(SimpleNamespace(backend="cpu"), config, CPU, Model())


def update(*sources):
    """Packed weights and what an engine is told of them."""
    rooms = [Packed.room_for(source.metadata(), is_frozen=False) for source in sources]
    for room, source in zip(rooms, sources, strict=True):
        room.fill(source)
    return rooms, CpuUpdateInfo([room.describe() | {"path": room.buffer.path} for room in rooms])


def test_what_is_kept_outlasts_the_learner_that_packed_it(engine, learner):
    source, model = learner.source, engine.model
    engine.init_transfer_engine(CpuInitInfo())
    rooms, told = update(source.frozen, source.kept, source.changing)
    engine.receive_weights(told)
    assert differences(model.loaded, learner.merged()) == []
    del rooms
    for _ in range(2):
        learner.learn()
        _rooms, told = update(source.changing)
        engine.receive_weights(told)
        assert engine.model is model
        assert differences(model.loaded, learner.merged()) == []


def test_another_learner_has_to_send_everything(engine, learner):
    engine.init_transfer_engine(CpuInitInfo())
    _rooms, told = update(learner.source.kept, learner.source.changing)
    engine.receive_weights(told)
    engine.init_transfer_engine(CpuInitInfo())
    _rooms, told = update(learner.source.changing)
    with pytest.raises(WeightSyncError, match="must be of all weights"):
        engine.receive_weights(told)
    assert isinstance(engine.model, Model)


@pytest.mark.parametrize(
    ("backend", "transport"),
    [
        ("cpu", CpuWeightTransferEngine),
        ("nccl", NCCLWeightTransferEngine),
        ("ipc", IPCWeightTransferEngine),
    ],
)
def test_every_backend_merges_before_its_model_loads(backend, transport):
    register()
    found = WeightTransferEngineFactory._registry[receiver_name(backend)]()
    assert found.__mro__[1:3] == (MergesAdapters, transport)
    # The backend's only way to the model while weights come is the one that is taken over.
    assert "load_weights" in transport.receive_weights.__code__.co_names
