"""Memory that a plan tells, against what torch and autograd really hold."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from keomni_rl.config.schema import LearnerConfig
from keomni_rl.models.adapters import choose_trained
from keomni_rl.models.family import find_family, read_config
from keomni_rl.models.prefix_attention import use_prefix_attention
from keomni_rl.models.shared_prefix import PackedRows
from keomni_rl.planning.memory import (
    GIB,
    States,
    kv_bytes_per_token,
    row_activations,
    run_memory,
)
from keomni_rl.planning.shape import model_shape
from keomni_rl.planning.workload import Workload
from tests.unit.planning.conftest import run_config, write_omni

TOLERANCE = 0.03
"""Relative, of activations: tables of positions and the like are not counted."""
G, NEW_TOKENS = 4, 30


@pytest.fixture(scope="session", params=["tiny", "six layers of width 512"])
def network_folder(request, any_model, tmp_path_factory):
    """The tiny models, and the same ones grown."""
    if request.param == "tiny":
        return any_model
    folder = tmp_path_factory.mktemp("grown")
    config = read_config(any_model)
    config["text_config"] |= {
        "hidden_size": 512,
        "intermediate_size": 1376,
        "num_hidden_layers": 6,
        "num_attention_heads": 8,
        "head_dim": 64,
        "layer_types": ["full_attention"] * 6,
    }
    if config["audio_config"].get("output_dim"):
        config["audio_config"]["output_dim"] = 512
    if config.get("vision_config"):
        config["vision_config"]["out_hidden_size"] = 512
    (folder / "config.json").write_text(json.dumps(config))
    for name in ("tokenizer.json", "tokenizer_config.json", "processor_config.json"):
        (folder / name).write_text((any_model / name).read_text())
    for file in any_model.glob("chat_template*"):
        (folder / file.name).write_text(file.read_text())
    return folder


def some_network(folder, dtype, learner):
    """The network as a learner has it, with whatever weights."""
    family = find_family(folder)
    network = family.describe(folder).to_empty(device="cpu").to(getattr(torch, dtype)).train()
    with torch.no_grad():
        for tensor in (*network.parameters(), *network.buffers()):
            tensor.fill_(0.01)
    choose_trained(network, family, learner, seed=0)
    return network


def packed_row(folder, audio_s: float) -> tuple[PackedRows, Workload]:
    family = find_family(folder)
    frames = round(audio_s * 100) + 2
    ids = family.prompt_ids(family.load_processor(folder), "What is heard?", frames)
    completions = [np.arange(5, 5 + NEW_TOKENS) for _ in range(G)]
    mel = np.zeros((128, frames), np.float32)
    return PackedRows.pack([np.asarray(ids)], [completions], [mel]), Workload(
        audio_s=audio_s,
        prompt_tokens=len(ids),
        completion_tokens=NEW_TOKENS,
        group_size=G,
        groups_per_step=1,
    )


def kept_bytes(network, forward) -> int:
    """What autograd keeps of a forward pass, weights not counted and every storage once."""
    weights = {p.untyped_storage().data_ptr() for p in network.parameters()}
    kept = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = forward()
    assert output.requires_grad
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


@pytest.mark.parametrize(
    ("trained", "dtype"),
    [("all", "float32"), ("all", "bfloat16"), ("without_audio_tower", "bfloat16")],
)
def test_activations_are_those_that_autograd_keeps(network_folder, dtype, trained):
    learner = LearnerConfig(trained=trained)
    family = find_family(network_folder)
    network = some_network(network_folder, dtype, learner)
    use_prefix_attention(network.get_submodule(family.language_model))
    rows, workload = packed_row(network_folder, 10.0)

    def forward():
        embeds = family.embed(network, rows.ids_BS, rows.mels)
        return family.decode(network, embeds, rows.layouts, rows.positions_BS)

    told = row_activations(model_shape(network_folder, learner), workload, dtype=dtype)
    assert told == pytest.approx(kept_bytes(network, forward), rel=TOLERANCE)


def test_checkpointing_keeps_far_less(tmp_path):
    shape = model_shape(write_omni(tmp_path / "m", "7b"), LearnerConfig())
    row = Workload.longest(run_config())
    whole = row_activations(shape, row, dtype="bfloat16")
    assert row_activations(shape, row, dtype="bfloat16", checkpointing=True) < whole / 8


@given(
    stage=st.sampled_from([0, 1, 2, 3]),
    ranks=st.integers(1, 256),
    dtype=st.sampled_from(["float32", "bfloat16"]),
)
def test_more_ranks_and_higher_stages_never_need_more(tiny_shape, stage, ranks, dtype):
    def total(stage, ranks):
        states = States.of(tiny_shape, stage=stage, ranks=ranks, dtype=dtype)
        return states.weights + states.gradients + states.optimizer

    assert total(stage, ranks + 1) <= total(stage, ranks)
    if 0 < stage < 3:
        assert total(stage + 1, ranks) <= total(stage, ranks)


@pytest.fixture(scope="session")
def tiny_shape(tiny_model):
    return model_shape(tiny_model, LearnerConfig())


def test_zero_3_takes_sixteen_bytes_a_parameter_in_bfloat16(tiny_shape):
    states = States.of(tiny_shape, stage=3, ranks=4, dtype="bfloat16")
    assert states.weights + states.gradients + states.optimizer == 16 * tiny_shape.num_trained / 4


def test_offload_moves_the_optimizer_to_the_host(tiny_shape):
    config = run_config()
    here = run_memory(config, tiny_shape)[0]
    away = run_memory(run_config(learner={"offload_optimizer": True}), tiny_shape)[0]
    assert away.host_bytes == next(p.num_bytes for p in here.parts if p.name == "optimizer")
    assert away.num_bytes + away.host_bytes == pytest.approx(here.num_bytes)


def test_adapters_leave_almost_nothing_to_optimize(tiny_model):
    whole, adapters = (
        run_memory(run_config(), model_shape(tiny_model, LearnerConfig(trained=trained)))[0]
        for trained in ("all", "lora")
    )
    optimizer = [
        next(p.num_bytes for p in m.parts if p.name == "optimizer") for m in (whole, adapters)
    ]
    assert optimizer[1] < optimizer[0] / 20


def test_the_engine_of_7b_fills_its_share_with_cache(tmp_path):
    shape = model_shape(write_omni(tmp_path / "m", "7b"), LearnerConfig())
    assert kv_bytes_per_token(shape, "bfloat16") == 2 * 28 * 4 * 128 * 2
    assert kv_bytes_per_token(shape, "bfloat16", 8) == 2 * 28 * 128 * 2
    config = run_config(algo={"beta": 0})
    _, rollout = run_memory(config, shape, 80)
    assert rollout.num_bytes == pytest.approx(0.85 * 80 * GIB)


def test_roles_are_those_of_the_run(tiny_shape):
    def roles(**sections):
        return [memory.role for memory in run_memory(run_config(**sections), tiny_shape)]

    assert roles() == ["learner", "rollout", "reference"]
    assert roles(algo={"beta": 0}, evaluation={"file": "e.json"}) == [
        "learner",
        "rollout",
        "evaluator",
    ]
    supervised = {"kind": "supervised", "beta": 0, "importance_cap": None}
    assert roles(algo=supervised) == ["learner"]
