"""What config.json alone says of a model's size."""

import json

import pytest
import torch

from keomni_rl.config.schema import LearnerConfig
from keomni_rl.errors import CheckpointError
from keomni_rl.models.adapters import choose_trained
from keomni_rl.models.family import find_family
from keomni_rl.planning.shape import model_shape
from tests.unit.planning.conftest import write_omni

TRAINED = [
    LearnerConfig(),
    LearnerConfig(trained="without_audio_tower"),
    LearnerConfig(trained="lora"),
]


@pytest.mark.parametrize("size", ["3b", "7b"])
def test_real_sizes_need_no_weights_and_are_the_same_in_both_layouts(tmp_path, size):
    full = model_shape(write_omni(tmp_path / "full", size), LearnerConfig())
    thinker = model_shape(write_omni(tmp_path / "thinker", size, "thinker"), LearnerConfig())
    assert full == thinker
    # Of the language model: 3.40 and 7.62 billion, published; the audio tower has 0.64 more.
    tower = 0.64e9
    published = {"3b": 3.40e9, "7b": 7.62e9}[size]
    assert full.num_parameters == pytest.approx(published + tower, rel=0.01)
    assert full.audio_tower.heads == 20


@pytest.mark.parametrize("learner", TRAINED, ids=lambda learner: learner.trained)
def test_counts_are_those_of_the_loaded_network(any_model, learner):
    shape = model_shape(any_model, learner)
    family = find_family(any_model)
    network = family.load(any_model, torch.float32)
    assert shape.num_sent == sum(p.numel() for p in network.parameters())
    choose_trained(network, family, learner, seed=0)
    assert shape.num_parameters == sum(p.numel() for p in network.parameters())
    assert shape.num_trained == sum(p.numel() for p in network.parameters() if p.requires_grad)
    assert shape.hears == (learner.trained == "all")


def test_weights_may_be_missing_but_a_config_may_not(any_model, tmp_path):
    (tmp_path / "config.json").write_text((any_model / "config.json").read_text())
    assert model_shape(tmp_path, LearnerConfig()) == model_shape(any_model, LearnerConfig())
    (tmp_path / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        model_shape(tmp_path, LearnerConfig())


def test_heads_that_make_no_sense_are_refused(tmp_path):
    folder = write_omni(tmp_path / "model", "7b", "thinker")
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["num_key_value_heads"] = 3
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="28 attention heads for 3"):
        model_shape(folder, LearnerConfig())
