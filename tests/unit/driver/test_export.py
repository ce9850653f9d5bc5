"""Exported folders load in plain transformers and hold what was learnt; what cannot be is said."""

import asyncio
import json
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import save_file

from keomni_rl.config.schema import ModelConfig
from keomni_rl.driver.checkpoints import save_checkpoint
from keomni_rl.driver.export import export_model, local_source
from keomni_rl.errors import CheckpointError
from keomni_rl.models.adapters import DOWN, SCALE, UP
from keomni_rl.models.layout import find_layout, read_tensors, stored_dtype, write_model
from keomni_rl.models.tiny import build_tiny
from keomni_rl.storage.manifest import RunState
from tests.voiced_omni import build_voiced_omni

NORM = "model.norm.weight"
QUERY = "model.layers.1.self_attn.q_proj"


def write_run(
    folder: Path, base: Path, tensors: dict[str, torch.Tensor], step=2, **notes: str
) -> Path:
    """A run's folder with one checkpoint, as the learner and the driver write it."""

    async def write_learner(aside: Path) -> None:
        save_file(tensors, aside / "policy-00000.safetensors", notes)

    folder.mkdir(exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump({"model": {"path": str(base)}}))
    state = RunState(step=step)
    asyncio.run(save_checkpoint(folder / "checkpoints", state, write_learner, keep=5))
    return folder


@pytest.fixture(scope="module")
def half(tiny_model, tmp_path_factory) -> Path:
    """The base in bfloat16, as real models are."""
    out = tmp_path_factory.mktemp("half") / "model"
    write_model(out, tiny_model, "thinker", [], dtype="bfloat16")
    return out


def test_a_checkpoint_of_some_parameters_is_completed_from_the_runs_base(half, tmp_path):
    from transformers import Qwen2_5OmniThinkerForConditionalGeneration

    run = write_run(tmp_path / "run", half, {NORM: torch.full((256,), 1.5)})
    write_run(tmp_path / "run", half, {NORM: torch.full((256,), 2.5)}, step=4)
    done = export_model(run, tmp_path / "out")
    assert (done.layout, done.base, done.source.name) == ("thinker", half, "step_000004")
    assert done.num_bytes > 6_000_000
    older = export_model(run / "checkpoints" / "step_000002", tmp_path / "older", layout="thinker")
    for folder, value in ((done.folder, 2.5), (older.folder, 1.5)):
        network, info = Qwen2_5OmniThinkerForConditionalGeneration.from_pretrained(
            folder, output_loading_info=True
        )
        assert not info["missing_keys"]
        assert not info["unexpected_keys"]
        assert network.dtype == torch.bfloat16
        state = network.state_dict()
        assert torch.equal(state[NORM], torch.full((256,), value).bfloat16())
        for name, tensor in read_tensors(half):
            assert name == NORM or torch.equal(state[name], tensor), name


def test_a_run_at_a_url_is_exported_as_one_on_a_disk(half, tmp_path, object_store, caplog):
    run = write_run(tmp_path / "run", half, {NORM: torch.full((256,), 1.5)})
    write_run(run, half, {NORM: torch.full((256,), 2.5)}, step=4)
    object_store.upload(run, "exported/run")
    url = "s3://runs/exported/run"
    for place, step, value in ((url, 4, 2.5), (f"{url}/checkpoints/step_000002", 2, 1.5)):
        with local_source(place) as source:
            assert source.name == f"step_00000{step}"
            done = export_model(source, tmp_path / f"out-{step}")
        assert done.base == half
        assert torch.equal(
            dict(read_tensors(done.folder))[NORM], torch.full((256,), value).bfloat16()
        )
    object_store.write("exported/run/checkpoints/step_000004/state.json", b"{}")
    with local_source(url) as source:
        assert source.name == "step_000002"
    assert "step_000004 is damaged" in caplog.text
    with pytest.raises(CheckpointError, match=r"step_000004: .* has changed since"):
        local_source(f"{url}/checkpoints/step_000004").__enter__()
    with pytest.raises(CheckpointError, match="no run there, or it has no checkpoint yet"):
        local_source("s3://runs/exported/nothing").__enter__()


def test_a_base_with_a_voice_keeps_it_in_the_full_layout(tiny_model, tmp_path):
    from transformers import Qwen2_5OmniForConditionalGeneration

    voiced = build_voiced_omni(tmp_path / "voiced", tiny_model)
    run = write_run(tmp_path / "run", voiced, {NORM: torch.full((256,), 1.5)})
    done = export_model(run, tmp_path / "out", dtype="bfloat16")
    assert done.layout == "full"
    original = Qwen2_5OmniForConditionalGeneration.from_pretrained(voiced).state_dict()
    whole = Qwen2_5OmniForConditionalGeneration.from_pretrained(done.folder, dtype="float32")
    assert whole.has_talker
    assert list(whole.speaker_map) == ["Chelsie"]
    assert torch.equal(whole.thinker.state_dict()[NORM], torch.full((256,), 1.5))
    voice = {n: t for n, t in whole.state_dict().items() if not n.startswith("thinker.")}
    assert len(voice) > 100
    assert all(torch.equal(tensor, original[name]) for name, tensor in voice.items())


def test_a_thinker_gets_the_voice_of_a_full_base(tiny_model, tmp_path):
    voiced = build_voiced_omni(tmp_path / "voiced", tiny_model)
    other = build_tiny(tmp_path / "other", ["other words"] * 9, seed=9)
    with pytest.raises(CheckpointError, match="not the model that was trained"):
        export_model(other, tmp_path / "out", base=ModelConfig(path=voiced))
    assert not (tmp_path / "out").exists()
    write_model(tmp_path / "taught", tiny_model, "thinker", [(NORM, torch.full((256,), 3.0))])
    done = export_model(tmp_path / "taught", tmp_path / "out", base=ModelConfig(path=voiced))
    tensors = dict(read_tensors(done.folder))
    assert torch.equal(tensors[NORM], torch.full((256,), 3.0))
    assert (done.folder / "spk_dict.pt").exists()


def test_adapters_are_merged(tiny_model, tmp_path):
    generator = torch.Generator().manual_seed(0)
    down = torch.randn(4, 256, generator=generator)
    up = torch.randn(256, 4, generator=generator)
    run = write_run(
        tmp_path / "run", tiny_model, {QUERY + DOWN: down, QUERY + UP: up}, **{SCALE: "0.5"}
    )
    done = export_model(run, tmp_path / "out")
    before, after = dict(read_tensors(tiny_model)), dict(read_tensors(done.folder))
    weight = QUERY + ".weight"
    torch.testing.assert_close(after[weight], before[weight] + 0.5 * up @ down)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[n], after[n]) for n in before if n != weight)


def test_a_model_is_turned_into_the_other_layout_and_type(tiny_model, tmp_path):
    done = export_model(tiny_model, tmp_path / "full", layout="full", dtype="bfloat16")
    assert find_layout(done.folder) == "full"
    assert stored_dtype(done.folder) == "bfloat16"
    config = json.loads((done.folder / "config.json").read_text())
    assert config["enable_audio_output"] is False
    assert config["architectures"] == ["Qwen2_5OmniForConditionalGeneration"]


def test_qwen2_audio_has_one_layout(tmp_path):
    from transformers import Qwen2AudioForConditionalGeneration

    base = build_tiny(tmp_path / "base", ["What is heard?"] * 9, seed=0, family="qwen2_audio")
    name = "model.language_model.norm.weight"
    run = write_run(tmp_path / "run", base, {name: torch.full((256,), 1.5)})
    with pytest.raises(CheckpointError, match="qwen2_audio has no layout 'thinker', only full"):
        export_model(run, tmp_path / "out", layout="thinker")
    done = export_model(run, tmp_path / "out")
    network, info = Qwen2AudioForConditionalGeneration.from_pretrained(
        done.folder, output_loading_info=True
    )
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert torch.equal(network.state_dict()[name], torch.full((256,), 1.5))


def test_what_cannot_be_exported_is_said_and_leaves_nothing(tiny_model, tmp_path):
    run = write_run(tmp_path / "run", tiny_model, {NORM: torch.ones(256)})
    used = tmp_path / "used"
    used.mkdir()
    (used / "file").touch()

    def refused(match: str, checkpoint: Path, out: Path = tmp_path / "out", **options) -> None:
        with pytest.raises(CheckpointError, match=match):
            export_model(checkpoint, out, **options)
        assert not (tmp_path / "out").exists()
        assert not list(tmp_path.glob(".*partial"))

    refused("used: exists already", run, used)
    refused("no such model folder", tmp_path / "nowhere")
    refused("neither a run's folder, nor one of its checkpoints", used)
    (tmp_path / "new" / "checkpoints").mkdir(parents=True)
    refused("the run has no checkpoint yet", tmp_path / "new")
    refused("nowhere: no such model folder", run, base=ModelConfig(path=Path("nowhere")))
    wrong = write_run(tmp_path / "wrong", tiny_model, {"model.other.weight": torch.ones(3)})
    refused("not the model that was trained, its 'model.other.weight' is missing", wrong)
    (run / "config.yaml").write_text("model: [1]")
    refused("config.yaml: does not say which model the run began with", run)
    (run / "config.yaml").unlink()
    refused("config.yaml: no such file.*give it as --base", run)
    stored = run / "checkpoints" / "step_000002" / "policy-00000.safetensors"
    stored.write_bytes(stored.read_bytes()[:-1] + b"x")
    refused("has changed since it was written", stored.parent)
    (tmp_path / "empty").mkdir()
    export_model(tiny_model, tmp_path / "empty")  # an empty folder is as good as none
    assert (tmp_path / "empty" / "config.json").exists()
