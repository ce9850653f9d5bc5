"""A transfer to real actors, some of which die or stop in the middle of it."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest
import ray
import torch
from vllm.distributed.weight_transfer.base import ParamMeta

from keomni_rl.actors.remote import join_ray
from keomni_rl.actors.weight_client import RayWeightClient
from keomni_rl.engines.packed_weights import Packed, Unpacker
from keomni_rl.engines.shared_buffer import SharedBuffer, place
from keomni_rl.errors import WeightSyncError


class Receiver:
    """Takes weights until a file with a method's name tells it to end or to stop there."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.calls, self.staged, self.received = folder, [], [], {}
        self.unpacker = Unpacker()

    def _enter(self, name: str) -> None:
        self.calls.append(name)
        if (self.folder / f"die-{name}").exists():
            os._exit(1)
        if (self.folder / f"stop-{name}").exists():
            os.kill(os.getpid(), signal.SIGSTOP)

    def init_weight_transfer(self, info: dict) -> str:
        self._enter("init")
        return "another machine" if (self.folder / "far").exists() else place()

    def stage_weights(self, *buffers: np.ndarray) -> list[str]:
        self._enter("stage")
        self.staged = [SharedBuffer.of(buffer) for buffer in buffers]
        return [buffer.path for buffer in self.staged]

    def start_weight_update(self) -> None:
        self._enter("start")

    def update_weights(self, info: dict) -> None:
        self._enter("update")
        unpacked = self.unpacker.unpack(info["parts"])
        self.received |= {name: tensor.tolist() for name, tensor in unpacked}

    def finish_weight_update(self, version: int) -> float:
        self._enter("finish")
        self.calls.append(version)
        return 0.5

    def state(self):
        return self.calls, self.received


@pytest.fixture(scope="module")
def cluster():
    join_ray(None)
    yield
    ray.shutdown()


@pytest.fixture
def receivers(cluster, tmp_path):
    folders = [tmp_path / str(number) for number in range(3)]
    for folder in folders:
        folder.mkdir()
    started = [ray.remote(Receiver).options(num_cpus=0).remote(folder) for folder in folders]
    ray.get([handle.state.remote() for handle in started])
    yield started, folders
    for handle in started:
        ray.kill(handle)


def packed(name, value, *, is_frozen=False):
    part = Packed.room_for([ParamMeta(name, torch.float32, (2,))], is_frozen=is_frozen)
    part.fill([(name, torch.full((2,), float(value)))])
    return part


def transfer(client, version, *parts):
    client.version = version
    client.stage_weights(parts)
    client.start_weight_update()
    client.update_weights({})
    client.finish_weight_update()


def test_one_that_dies_and_one_that_stops_are_left_out_and_named(receivers):
    handles, folders = receivers
    (folders[0] / "die-update").touch()
    (folders[2] / "stop-start").touch()
    client = RayWeightClient(handles, hang_s=10, can_lose=True)
    client.init_weight_transfer_engine({})
    transfer(client, 7, packed("a", 7))
    assert "lost in update_weights" in client.lost[0]
    assert client.lost[2] == "it did not answer start_weight_update within 10 s"
    assert set(client.lost) == {0, 2}
    calls, received = ray.get(handles[1].state.remote())
    assert calls == ["init", "start", "update", "finish", 7]
    assert received == {"a": [7.0, 7.0]}
    assert client.pause_s == 0.5


def test_a_late_one_gets_all_that_the_others_hold(receivers):
    handles, folders = receivers
    client = RayWeightClient(handles[:1], hang_s=60, can_lose=True)
    client.init_weight_transfer_engine({})
    frozen = packed("tower", 5, is_frozen=True)
    kept = packed("base", 6, is_frozen=True)
    transfer(client, 1, frozen, kept, packed("a", 1))
    transfer(client, 2, packed("a", 2))
    assert client.resend(handles[1]) == {}
    assert ray.get(handles[1].state.remote()) == (
        ["init", "start", "update", "finish", 2],
        {"tower": [5.0, 5.0], "base": [6.0, 6.0], "a": [2.0, 2.0]},
    )
    (folders[2] / "die-start").touch()
    assert "lost in start_weight_update" in client.resend(handles[2])[0]


def test_one_on_another_machine_is_brought_a_copy_before_anyone_pauses(receivers):
    handles, folders = receivers
    (folders[1] / "far").touch()
    client = RayWeightClient(handles[:2], hang_s=60, can_lose=True)
    client.init_weight_transfer_engine({})
    frozen = packed("tower", 5, is_frozen=True)
    transfer(client, 1, frozen, packed("a", 1))
    transfer(client, 2, packed("a", 2))
    near, far = ray.get([handle.state.remote() for handle in handles[:2]])
    assert near[1] == far[1] == {"tower": [5.0, 5.0], "a": [2.0, 2.0]}
    assert near[0] == ["init", *["start", "update", "finish", 1], *["start", "update", "finish", 2]]
    assert far[0] == ["init", "stage", *near[0][1:5], "stage", *near[0][5:]]
    (folders[2] / "far").touch()
    assert client.resend(handles[2]) == {}
    assert ray.get(handles[2].state.remote())[1] == near[1]


def test_a_collective_cannot_lose_anyone(receivers):
    handles, folders = receivers
    (folders[1] / "die-init").touch()
    client = RayWeightClient(handles, hang_s=60, can_lose=False)
    with pytest.raises(WeightSyncError, match="engine 1: lost in init_weight_transfer"):
        client.init_weight_transfer_engine({})
