"""A transfer to real actors, some of which die or stop in the middle of it."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest
import ray

from keomni_rl.actors.remote import join_ray
from keomni_rl.actors.weight_client import RayWeightClient
from keomni_rl.errors import WeightSyncError


class Receiver:
    """Takes weights until a file with a method's name tells it to end or to stop there."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.calls, self.received = folder, [], None

    def _enter(self, name: str) -> None:
        self.calls.append(name)
        if (self.folder / f"die-{name}").exists():
            os._exit(1)
        if (self.folder / f"stop-{name}").exists():
            os.kill(os.getpid(), signal.SIGSTOP)

    def init_weight_transfer(self, info: dict) -> None:
        self._enter("init")

    def start_weight_update(self) -> None:
        self._enter("start")

    def update_weights(self, info: dict, buffer: np.ndarray) -> None:
        self._enter("update")
        self.received = (info["names"], buffer.sum())

    def finish_weight_update(self, version: int) -> None:
        self._enter("finish")
        self.calls.append(version)

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


def transfer(client, version):
    client.version = version
    client.start_weight_update()
    client.update_weights({"names": ["a"], "buffer": np.full(10, version, np.uint8)})
    client.finish_weight_update()


def test_one_that_dies_and_one_that_stops_are_left_out_and_named(receivers):
    handles, folders = receivers
    (folders[0] / "die-update").touch()
    (folders[2] / "stop-start").touch()
    client = RayWeightClient(handles, hang_s=10, can_lose=True)
    client.init_weight_transfer_engine({})
    transfer(client, 7)
    assert "lost in update_weights" in client.lost[0]
    assert client.lost[2] == "it did not answer start_weight_update within 10 s"
    assert set(client.lost) == {0, 2}
    calls, received = ray.get(handles[1].state.remote())
    assert calls == ["init", "start", "update", "finish", 7]
    assert received == (["a"], 70)


def test_a_late_one_gets_what_the_others_got_last(receivers):
    handles, folders = receivers
    client = RayWeightClient(handles[:1], hang_s=60, can_lose=True)
    client.init_weight_transfer_engine({})
    transfer(client, 1)
    transfer(client, 2)
    assert client.resend(handles[1]) == {}
    assert ray.get(handles[1].state.remote()) == (
        ["init", "start", "update", "finish", 2],
        (["a"], 20),
    )
    (folders[2] / "die-start").touch()
    assert "lost in start_weight_update" in client.resend(handles[2])[0]


def test_a_collective_cannot_lose_anyone(receivers):
    handles, folders = receivers
    (folders[1] / "die-init").touch()
    client = RayWeightClient(handles, hang_s=60, can_lose=False)
    with pytest.raises(WeightSyncError, match="engine 1: lost in init_weight_transfer"):
        client.init_weight_transfer_engine({})
