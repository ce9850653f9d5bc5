import asyncio

import pytest

from keomni_rl.driver.checkpoints import (
    RunState,
    find_damage,
    latest_checkpoint,
    list_checkpoints,
    save_checkpoint,
)
from keomni_rl.errors import CheckpointError


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


@pytest.mark.parametrize("damage", ["truncate", "flip", "remove", "no manifest"])
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
    else:
        (path / "manifest.json").unlink()
    assert find_damage(path)
    assert latest_checkpoint(tmp_path)[0].name == "step_000002"
    assert "step_000004 is damaged" in caplog.text.replace("\n", "")


def test_nothing_but_damage_is_an_error(tmp_path):
    (save(tmp_path, 2) / "state.json").write_text("{}")
    with pytest.raises(CheckpointError, match="all 1 checkpoints are damaged"):
        latest_checkpoint(tmp_path)
