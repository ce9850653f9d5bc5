import asyncio

import pytest

from keomni_rl.driver.checkpoints import latest_checkpoint, list_checkpoints, save_checkpoint
from keomni_rl.errors import CheckpointError
from keomni_rl.storage.manifest import RunState, find_damage


def save(folder, step, *, fail=False, keep=3):
    async def write_learner(aside):
        (aside / "policy-00000.safetensors").write_bytes(b"weights of step %d" % step)
        if fail:
            raise OSError("no space left on device")

    state = RunState(step=step, position=step * 4)
    return asyncio.run(save_checkpoint(folder, state, write_learner, keep=keep))


def test_the_newest_is_found_and_old_ones_go(tmp_path):
    for step in (2, 4, 6, 8):
        save(tmp_path, step, keep=2)
    assert [p.name for p in list_checkpoints(tmp_path)] == ["step_000006", "step_000008"]
    path, state = latest_checkpoint(tmp_path)
    assert (path.name, state) == ("step_000008", RunState(step=8, position=32))
    assert latest_checkpoint(tmp_path / "nothing") is None


def test_a_write_that_fails_leaves_the_one_before(tmp_path):
    save(tmp_path, 2)
    with pytest.raises(OSError, match="no space"):
        save(tmp_path, 4, fail=True)
    assert latest_checkpoint(tmp_path)[0].name == "step_000002"
    save(tmp_path, 4)
    assert latest_checkpoint(tmp_path)[0].name == "step_000004"


def damage_weights(path):
    file = path / "policy-00000.safetensors"
    file.write_bytes(file.read_bytes()[:-1])


@pytest.mark.parametrize("keep", [1, 2])
def test_a_run_that_went_back_behind_a_damaged_one_keeps_what_it_writes(tmp_path, keep):
    save(tmp_path, 2, keep=keep)
    damage_weights(save(tmp_path, 4, keep=2))
    save(tmp_path, 3, keep=keep)  # checkpoints were asked for at other steps
    kept = ["step_000002", "step_000003"][-keep:]
    assert [p.name for p in list_checkpoints(tmp_path)] == kept
    assert latest_checkpoint(tmp_path)[1].step == 3


def test_a_damaged_one_takes_no_whole_ones_place(tmp_path):
    save(tmp_path, 2)
    damage_weights(save(tmp_path, 4))
    save(tmp_path, 6, keep=2)
    assert [p.name for p in list_checkpoints(tmp_path)] == ["step_000002", "step_000006"]


def test_the_order_is_that_of_the_steps_and_copies_are_left_alone(tmp_path):
    for step in (999_999, 1_000_000):
        save(tmp_path, step)
    (tmp_path / "step_1000000").rename(tmp_path / "step_1000000.copy")
    save(tmp_path, 1_000_001, keep=1)
    assert latest_checkpoint(tmp_path)[1].step == 1_000_001
    assert {p.name for p in tmp_path.iterdir()} == {"step_1000001", "step_1000000.copy"}


@pytest.mark.parametrize("damage", ["truncate", "flip", "remove", "no manifest", "other manifest"])
def test_a_damaged_one_is_passed_over_aloud(tmp_path, damage, caplog):
    save(tmp_path, 2)
    path = save(tmp_path, 4)
    file = path / "policy-00000.safetensors"
    data = file.read_bytes()
    if damage == "truncate":
        file.write_bytes(data[:-1])
    elif damage == "flip":
        file.write_bytes(bytes([data[0] ^ 1]) + data[1:])
    elif damage == "remove":
        file.unlink()
    elif damage == "no manifest":
        (path / "manifest.json").unlink()
    else:
        (path / "manifest.json").write_text('{"policy-00000.safetensors": {"bytes": 1}}')
    assert find_damage(path)
    assert latest_checkpoint(tmp_path)[0].name == "step_000002"
    assert "step_000004 is damaged" in caplog.text.replace("\n", "")


def test_nothing_but_damage_is_an_error(tmp_path):
    (save(tmp_path, 2) / "state.json").write_text("{}")
    with pytest.raises(CheckpointError, match="all 1 checkpoints are damaged"):
        latest_checkpoint(tmp_path)
