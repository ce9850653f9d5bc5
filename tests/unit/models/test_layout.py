import json

import pytest
import torch

from keomni_rl.errors import CheckpointError
from keomni_rl.models.family import find_family
from keomni_rl.models.layout import find_layout, read_tensors, write_model, write_shell


def test_both_layouts_hold_the_same_model(tiny_model, tmp_path):
    write_model(tmp_path / "full", tiny_model, "full", [])
    write_model(tmp_path / "back", tmp_path / "full", "thinker", [])
    assert [find_layout(p) for p in (tiny_model, tmp_path / "full")] == ["thinker", "full"]
    original, back = dict(read_tensors(tiny_model)), dict(read_tensors(tmp_path / "back"))
    assert original.keys() == back.keys()
    assert all(torch.equal(original[n], back[n]) for n in original)
    models = [find_family(p).load(p, torch.float32) for p in (tiny_model, tmp_path / "full")]
    pairs = zip(models[0].state_dict().items(), models[1].state_dict().values(), strict=True)
    assert all(torch.equal(tensor, other) for (_, tensor), other in pairs)
    names = json.loads((tmp_path / "full" / "model.safetensors.index.json").read_text())
    assert all(name.startswith("thinker.") for name in names["weight_map"])


def test_trained_tensors_replace_those_of_the_base(tiny_model, tmp_path):
    changed = torch.full((256,), 7.0)
    write_model(tmp_path / "out", tiny_model, "thinker", [("model.norm.weight", changed)])
    tensors = dict(read_tensors(tmp_path / "out"))
    assert torch.equal(tensors["model.norm.weight"], changed)
    assert any(name.startswith("visual.") for name in tensors)  # untrained, kept from the base


def test_the_trained_part_has_no_vision_tower(tiny_model):
    names = [
        n for n, _ in find_family(tiny_model).load(tiny_model, torch.float32).named_parameters()
    ]
    assert any(n.startswith("audio_tower.") for n in names)
    assert not any(n.startswith("visual.") for n in names)


def test_bad_folders_are_named(tiny_model, tmp_path):
    with pytest.raises(CheckpointError, match="no config.json"):
        find_family(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(CheckpointError, match="'llama' is of no known family.*qwen2_5_omni"):
        find_family(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match="not JSON"):
        find_family(tmp_path)
    write_shell(tmp_path, tiny_model, "full")
    with pytest.raises(CheckpointError, match="pickled weights are not read"):
        list(read_tensors(tmp_path))
