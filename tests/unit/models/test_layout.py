import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from keomni_rl.errors import CheckpointError
from keomni_rl.models import layout
from keomni_rl.models.family import find_family, read_config
from keomni_rl.models.layout import (
    find_layout,
    read_tensors,
    stored_dtype,
    weight_files,
    write_model,
    write_shell,
)
from tests.voiced_omni import build_voiced_omni


@pytest.fixture(scope="module")
def voiced(tiny_model, tmp_path_factory) -> Path:
    """A whole tiny Omni in several shards, talker and pickle included."""
    return build_voiced_omni(tmp_path_factory.mktemp("voiced") / "full", tiny_model)


def stored_names(folder: Path) -> set[str]:
    return {name for file in weight_files(folder) for name in load_file(file)}


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
    assert read_config(tmp_path / "full")["enable_audio_output"] is False


def test_trained_tensors_replace_those_of_the_base(tiny_model, tmp_path):
    changed = torch.full((256,), 7.0)
    write_model(tmp_path / "out", tiny_model, "thinker", [("model.norm.weight", changed)])
    tensors = dict(read_tensors(tmp_path / "out"))
    assert torch.equal(tensors["model.norm.weight"], changed)
    assert any(name.startswith("visual.") for name in tensors)  # untrained, kept from the base


@pytest.mark.parametrize(
    ("name", "shape"), [("model.nothing.weight", (256,)), ("model.norm.weight", (255,))]
)
def test_a_tensor_without_a_place_in_the_base_is_refused(tiny_model, tmp_path, name, shape):
    with pytest.raises(CheckpointError, match=f"not the model that was trained.*{name}"):
        write_model(tmp_path / "out", tiny_model, "thinker", [(name, torch.zeros(shape))])


def test_a_voice_is_carried_over_as_it_is_and_left_out_of_a_thinker(voiced, tmp_path):
    changed = ("model.norm.weight", torch.full((256,), 7.0))
    write_model(tmp_path / "full", voiced, "full", [changed], dtype="bfloat16")
    assert stored_names(tmp_path / "full") == stored_names(voiced)
    before = {n: t for f in weight_files(voiced) for n, t in load_file(f).items()}
    after = {n: t for f in weight_files(tmp_path / "full") for n, t in load_file(f).items()}
    voice = [name for name in before if not name.startswith("thinker.")]
    assert len(voice) > 100
    assert all(
        torch.equal(before[n], after[n]) and before[n].dtype == after[n].dtype for n in voice
    )
    assert {after[n].dtype for n in after if n.startswith("thinker.")} == {torch.bfloat16}
    assert (tmp_path / "full" / "spk_dict.pt").read_bytes() == (voiced / "spk_dict.pt").read_bytes()
    write_model(tmp_path / "thinker", voiced, "thinker", [])
    assert not (tmp_path / "thinker" / "spk_dict.pt").exists()
    assert stored_names(tmp_path / "thinker") == {
        name.removeprefix("thinker.") for name in before if name.startswith("thinker.")
    }


def test_dtype_is_that_of_each_tensor_in_the_base_or_the_one_asked_for(tiny_model, tmp_path):
    assert stored_dtype(tiny_model) == "float32"
    write_model(tmp_path / "half", tiny_model, "full", [], dtype="bfloat16")
    assert stored_dtype(tmp_path / "half") == "bfloat16"
    trained = ("model.norm.weight", torch.full((256,), 1.001))
    write_model(tmp_path / "kept", tmp_path / "half", "thinker", [trained])
    assert {t.dtype for _, t in read_tensors(tmp_path / "kept")} == {torch.bfloat16}
    assert stored_dtype(tmp_path / "kept") == "bfloat16"


def test_a_large_model_is_written_in_shards(tiny_model, tmp_path, monkeypatch):
    monkeypatch.setattr(layout, "SHARD_BYTES", 2_000_000)
    write_model(tmp_path / "out", tiny_model, "full", [])
    files = weight_files(tmp_path / "out")
    assert len(files) > 3
    assert sum(f.stat().st_size for f in files) < 20_000_000
    again = dict(read_tensors(tmp_path / "out"))
    assert all(torch.equal(t, again[n]) for n, t in read_tensors(tiny_model))
    files[1].unlink()
    with pytest.raises(CheckpointError, match=f"1 of {len(files)} weight files are missing"):
        list(read_tensors(tmp_path / "out"))


def test_qwen2_audio_is_written_under_released_names(qwen2_audio_model, tmp_path):
    names = stored_names(qwen2_audio_model)
    assert {name.partition(".")[0] for name in names} == {
        "language_model",
        "audio_tower",
        "multi_modal_projector",
    }
    assert {
        "language_model.model.layers.3.self_attn.q_proj.weight",
        "language_model.lm_head.weight",
        "audio_tower.embed_positions.weight",
        "multi_modal_projector.linear.bias",
    } <= names
    assert find_layout(qwen2_audio_model) == "full"
    with pytest.raises(CheckpointError, match="qwen2_audio has no layout 'thinker', only full"):
        write_model(tmp_path / "out", qwen2_audio_model, "thinker", [])


def test_qwen2_audio_as_transformers_saves_it_is_read(qwen2_audio_model, tmp_path):
    from transformers import Qwen2AudioForConditionalGeneration

    plain = Qwen2AudioForConditionalGeneration.from_pretrained(qwen2_audio_model)
    fresh = Qwen2AudioForConditionalGeneration(plain.config)  # one never read from a checkpoint
    fresh.load_state_dict(plain.state_dict())
    fresh.save_pretrained(tmp_path)
    assert "language_model.model.model.norm.weight" in stored_names(tmp_path)
    again, original = dict(read_tensors(tmp_path)), dict(read_tensors(qwen2_audio_model))
    assert again.keys() == original.keys() == plain.state_dict().keys()
    assert all(torch.equal(original[n], again[n]) for n in original)
    write_model(tmp_path / "out", tmp_path, "full", [])
    assert stored_names(tmp_path / "out") == stored_names(qwen2_audio_model)


def test_bad_folders_are_named(tiny_model, tmp_path):
    with pytest.raises(CheckpointError, match="no config.json"):
        find_family(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(CheckpointError, match="'llama' is of no known family.*qwen2_5_omni"):
        find_family(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match="not JSON"):
        find_family(tmp_path)
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(CheckpointError, match="wanted a JSON object"):
        find_family(tmp_path)
    write_shell(tmp_path, tiny_model, "full")
    with pytest.raises(CheckpointError, match="pickled weights are not read"):
        list(read_tensors(tmp_path))
    (tmp_path / "model.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0garbage")
    with pytest.raises(CheckpointError, match="model.safetensors: not readable as safetensors"):
        list(read_tensors(tmp_path))
    save_file({"thinker.model.norm.weight": torch.zeros(3)}, tmp_path / "model.safetensors")
    assert [name for name, _ in read_tensors(tmp_path)] == ["model.norm.weight"]
