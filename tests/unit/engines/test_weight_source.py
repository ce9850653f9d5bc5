"""Which weights go to engines, and with what beside them."""

from itertools import chain

import pytest
import torch
from torch import nn
from vllm.model_executor.models.qwen2 import Qwen2ForCausalLM
from vllm.model_executor.models.qwen2_5_omni_thinker import (
    Qwen2_5OmniThinkerForConditionalGeneration,
)

from keomni_rl.config.schema import LearnerConfig, LoraConfig
from keomni_rl.engines.adapter_merge import loaded_names
from keomni_rl.engines.weight_source import FUSED, LearnerWeights
from keomni_rl.models.adapters import choose_trained, lora_scale, merged_weights
from keomni_rl.models.family import find_family


def learner_weights(model, **settings):
    config = LearnerConfig(**settings)
    family = find_family(model)
    network = family.load(model, torch.float32)
    choose_trained(network, family, config, seed=0)
    source = LearnerWeights(merged_weights(network, lora_scale(config)), lambda name: name)
    return source, network, family


def names(source):
    return [meta.name for meta in source.metadata()]


def test_fused_is_what_vllm_fuses():
    """Both families' language models are vLLM's Qwen2; towers are frozen or trained as a whole."""
    fused = {tuple(parts) for parts in Qwen2ForCausalLM.packed_modules_mapping.values()}
    assert set(FUSED) == fused
    thinker = Qwen2_5OmniThinkerForConditionalGeneration.packed_modules_mapping.values()
    assert fused <= {tuple(parts) for parts in thinker}


@pytest.mark.parametrize("trained", ["all", "without_audio_tower", "lora"])
def test_all_parts_are_the_whole_and_agree_with_what_is_declared(tiny_model, trained):
    source, _, family = learner_weights(tiny_model, trained=trained)
    plain = family.load(tiny_model, torch.float32)
    loaded = loaded_names(names(source))
    assert sorted(loaded) == sorted(name for name, _ in plain.named_parameters())
    assert (loaded == names(source)) == (trained != "lora") == (not names(source.kept))
    yielded = list(source)
    assert [(n, t.dtype, tuple(t.shape)) for n, t in yielded] == [
        (m.name, m.dtype, m.shape) for m in source.metadata()
    ]


def test_a_frozen_audio_tower_is_all_that_never_changes(tiny_model):
    source, _, family = learner_weights(tiny_model, trained="without_audio_tower")
    assert names(source.frozen)
    assert all(name.startswith(f"{family.audio_tower}.") for name in names(source.frozen))
    assert not any(name.startswith(f"{family.audio_tower}.") for name in names(source.changing))


def test_nothing_is_frozen_when_everything_learns(tiny_model):
    assert names(learner_weights(tiny_model, trained="all")[0].frozen) == []


@pytest.mark.parametrize(
    ("targets", "layers"),
    [
        (("q_proj", "v_proj"), {"q_proj", "k_proj", "v_proj"}),
        (("o_proj", "up_proj"), {"o_proj", "gate_proj", "up_proj"}),
        (("down_proj",), {"down_proj"}),
    ],
)
def test_an_adapted_matrix_takes_along_what_vllm_fuses_with_it(tiny_model, targets, layers):
    source, *_ = learner_weights(tiny_model, trained="lora", lora=LoraConfig(targets=targets))
    sent = {
        name: meta.shape[0]
        for name, meta in zip(names(source.changing), source.changing.metadata())
    }
    assert {name.split(".")[-3] for name in sent} == layers
    ranks = {name.split(".")[-3]: rank for name, rank in sent.items()}
    assert {layer for layer, rank in ranks.items() if rank} == set(targets)
    assert not any(name.endswith("bias") for name in sent)


def test_only_adapters_are_sent_again(tiny_model):
    source, network, _ = learner_weights(tiny_model, trained="lora")
    before = {name: tensor.clone() for name, tensor in source}
    for parameter in network.parameters():
        if parameter.requires_grad:
            nn.init.normal_(parameter, std=0.1)
    changed = {name for name, tensor in source if not torch.equal(tensor, before[name])}
    assert changed == set(names(source.changing))
    assert {name for name, _ in chain(source.frozen, source.kept, source.changing)} == set(before)
