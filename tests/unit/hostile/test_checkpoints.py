"""Checkpoints and run folders from strangers: manifests that lie, pickles, links that lead out."""

import asyncio
import json
import pickle
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from keomni_rl.config.schema import ModelConfig
from keomni_rl.driver.checkpoints import (
    latest_checkpoint,
    list_checkpoints,
    save_checkpoint,
    stored_adapters,
)
from keomni_rl.driver.export import export_model
from keomni_rl.driver.run_dir import drop_evaluations, locked, prepare_run_dir
from keomni_rl.engines.learner_files import read_stored
from keomni_rl.errors import CheckpointError, ConfigError
from keomni_rl.models.adapters import DOWN, SCALE
from keomni_rl.storage.manifest import MANIFEST, STATE, RunState, file_digest, find_damage
from tests.odd_values import Evil, damaged, json_values, sparse, taken_or_refused

WEIGHTS = "policy-00000.safetensors"


def save(folder: Path, step: int = 1, weights: bytes | None = None, **notes: str) -> Path:
    async def write_learner(aside):
        if weights is None:
            tensors = {"a.weight": torch.zeros(2, 3), f"a{DOWN}": torch.zeros(2, 3)}
            save_file(tensors, aside / WEIGHTS, metadata=notes)
        else:
            (aside / WEIGHTS).write_bytes(weights)

    state = RunState(step=step, position=step)
    return asyncio.run(save_checkpoint(folder, state, write_learner, keep=3))


def relist(path: Path, **changes: object) -> None:
    """Make the manifest fit the files, then change it."""
    files = [file for file in path.iterdir() if file.is_file() and file.name != MANIFEST]
    listed = {f.name: {"bytes": f.stat().st_size, "sha256": file_digest(f)} for f in files}
    listing = {name: entry for name, entry in (listed | changes).items() if entry is not None}
    (path / MANIFEST).write_text(json.dumps(listing))


FALSE = {"bytes": 21, "sha256": "0" * 64}


@pytest.mark.parametrize(
    ("name", "entry"),
    [
        ("../../../outside/kept.wav", FALSE),
        ("/etc/passwd", FALSE),
        ("", FALSE),
        ("..", FALSE),
        ("a\0", FALSE),
        ("x" * 5_000, FALSE),
        (STATE, None),
        (WEIGHTS, None),
        (WEIGHTS, {"bytes": -1, "sha256": ""}),
        (WEIGHTS, {"bytes": "many", "sha256": 3}),
        (WEIGHTS, []),
    ],
)
def test_a_manifest_that_lies_is_damage(inside, name, entry):
    path = save(inside)
    relist(path)
    assert find_damage(path) is None
    relist(path, **{name: entry})
    assert 0 < len(find_damage(path)) < 400
    with pytest.raises(CheckpointError, match="all 1 checkpoints are damaged"):
        latest_checkpoint(inside)


def test_weights_that_the_manifest_does_not_list_are_damage(inside):
    path = save(inside)
    save_file({"evil.weight": torch.ones(2)}, path / "policy-00001.safetensors")
    assert find_damage(path) == "manifest.json does not list policy-00001.safetensors"


@pytest.mark.parametrize(
    "state",
    [
        "",
        "{",
        "[]",
        "null",
        '{"step": -1}',
        '{"step": "x"}',
        '{"step": 1.5}',
        '{"position": null}',
        "[" * 100_000,
        '{"version": ' + "9" * 5_000 + "}",
    ],
)
def test_a_state_that_is_none_is_damage_though_its_checksum_is_right(inside, state):
    path = save(inside)
    (path / STATE).write_text(state)
    relist(path)
    assert find_damage(path).startswith("no readable state.json")


@pytest.mark.parametrize("name", [MANIFEST, STATE])
def test_a_gibibyte_of_a_note_is_not_read(inside, memory_below, name):
    path = save(inside)
    sparse(path / name, start=b"{")
    with memory_below(2**24):
        assert "over 1048576 bytes" in find_damage(path)


@settings(max_examples=200)
@given(
    st.dictionaries(
        st.sampled_from([STATE, WEIGHTS, MANIFEST, "..", "/etc/passwd"]) | st.text(max_size=5),
        json_values | st.fixed_dictionaries({"bytes": json_values, "sha256": json_values}),
        max_size=4,
    )
    | json_values,
    st.dictionaries(st.sampled_from(["step", "version", "position", "x"]), json_values, max_size=3),
)
def test_any_manifest_and_state_is_taken_or_damage(tmp_path_factory, listing, state):
    folder = tmp_path_factory.getbasetemp() / "any"
    path = folder / "step_000001"
    if not path.exists():
        save(folder)
    (path / STATE).write_text(json.dumps(state))
    relist(path)
    if isinstance(listing, dict):
        listing = json.loads((path / MANIFEST).read_text()) | listing
    (path / MANIFEST).write_text(json.dumps(listing))
    taken_or_refused(lambda: latest_checkpoint(folder))


@settings(max_examples=150)
@given(data=st.data())
def test_damaged_weights_are_read_or_refused(tmp_path_factory, data):
    """Their checksums are right: who made the manifest made them."""
    folder = tmp_path_factory.getbasetemp() / "damaged"
    path = folder / "step_000001"
    if not path.exists():
        save(folder, **{SCALE: "2.0"})
        (folder / "whole").write_bytes((path / WEIGHTS).read_bytes())
    (path / WEIGHTS).write_bytes(data.draw(damaged([(folder / "whole").read_bytes()])))
    relist(path)
    assert find_damage(path) is None
    taken_or_refused(lambda: stored_adapters(path), WEIGHTS)
    taken_or_refused(lambda: list(read_stored(path, "policy")), WEIGHTS)


def test_a_pickle_in_a_checkpoint_is_never_opened(inside, tiny_model):
    """Neither one beside the weights nor one in their place."""
    mark = inside / "it ran"
    evil = pickle.dumps(Evil(mark))
    beside, instead = save(inside / "beside"), save(inside / "instead", weights=evil)
    for name in ("policy.pt", "optimizer.bin", "exp_avg-00000.pkl"):
        (beside / name).write_bytes(evil)
    relist(beside)
    assert latest_checkpoint(inside / "beside")[0] == beside
    assert len(dict(read_stored(beside, "policy"))) == 2
    assert stored_adapters(beside) is None
    for read in (lambda: list(read_stored(instead, "policy")), lambda: stored_adapters(instead)):
        with pytest.raises(CheckpointError, match=f"{WEIGHTS}: not readable as"):
            read()
    with pytest.raises(CheckpointError, match=f"{WEIGHTS}: not readable as"):
        export_model(instead, inside / "out", base=ModelConfig(path=tiny_model))
    assert not mark.exists()
    assert not (inside / "out").exists()


@pytest.mark.parametrize("scale", ["", "x", "2,0"])
def test_adapters_that_say_nothing_of_their_scale_are_refused(inside, scale):
    with pytest.raises(CheckpointError, match=f"{WEIGHTS}: not readable as weights of a learner"):
        stored_adapters(save(inside, **{SCALE: scale}))


def test_a_checkpoint_without_weights_is_refused(inside):
    path = save(inside)
    (path / WEIGHTS).unlink()
    relist(path)
    assert find_damage(path) is None
    with pytest.raises(CheckpointError, match="no policy-"):
        stored_adapters(path)


def test_what_is_no_folder_of_its_own_is_no_checkpoint(inside, outside):
    kept = save(inside)
    (inside / "step_000002").symlink_to(outside.parent)
    (inside / "step_000003").write_text("a file")
    (inside / "step_\N{ARABIC-INDIC DIGIT SEVEN}x").mkdir()
    assert list_checkpoints(inside) == [kept]
    for step in (4, 5, 6, 7):
        save(inside, step)
    assert len(list_checkpoints(inside)) == 3


LINKS = {
    "metrics.jsonl": "kept.wav",
    "events.jsonl": "kept.wav",
    ".lock": "kept.wav",
    "config.yaml": "kept.wav",
    "report.html": "not there yet",
    "rollouts": "",
    "checkpoints/step_000001": "",
}


@pytest.mark.parametrize("name", LINKS)
@pytest.mark.parametrize("resume", [False, True])
def test_a_run_folder_with_a_link_out_of_it_is_refused(inside, outside, name, resume):
    """It may have come out of an archive; a run would write through it."""
    run_dir = inside / "run"
    (run_dir / "checkpoints").mkdir(parents=True)
    if resume and name != "config.yaml":
        (run_dir / "config.yaml").write_text("run_dir: r")
    (run_dir / name).symlink_to(outside.parent / LINKS[name])
    message = "holds a run already" if name == "config.yaml" and not resume else "leads out of the"
    with pytest.raises(ConfigError, match=message):
        prepare_run_dir(run_dir, command="train", resume=resume)


def test_a_run_folder_may_be_a_link_and_have_links_within(inside):
    (inside / "disk" / "kept").mkdir(parents=True)
    (inside / "disk" / "rollouts").symlink_to("kept")
    (inside / "run").symlink_to("disk")
    prepare_run_dir(inside / "run", command="train", resume=False)
    with locked(inside / "run"):
        assert (inside / "disk" / ".lock").exists()


def test_a_run_folder_that_cannot_be_made_is_named(inside):
    (inside / "file").touch()
    for name in ("file", "file/run", "x" * 300):
        with pytest.raises(ConfigError, match="no folder, and none can be made"):
            prepare_run_dir(inside / name, command="train", resume=False)


def test_copies_among_the_evaluations_are_left_alone(inside):
    for name in ("step_000001", "step_000002", "step_2.copy", "step_9_of_mine"):
        (inside / "evaluation" / name).mkdir(parents=True)
    drop_evaluations(inside, after=1)
    kept = {path.name for path in (inside / "evaluation").iterdir()}
    assert kept == {"step_000001", "step_2.copy", "step_9_of_mine"}
