"""The pool over real Ray actors: what happens to work when an actor dies, hangs, or cannot start."""

import asyncio
import os
import signal
from pathlib import Path

import pytest
import ray

from keomni_rl.actors.pool import ActorPool
from keomni_rl.actors.remote import join_ray
from keomni_rl.errors import ActorError


class Worker:
    """Does what the file system tells it to, so that a test decides who fails and when."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if (folder / "no-build").exists():
            raise ValueError("this can never be built")

    async def ready(self) -> None:
        if (self.folder / "no-start").exists():
            (self.folder / "no-start").unlink()
            os._exit(1)

    async def work(self, number: int, attempt: int) -> tuple[int, int, int]:
        if (self.folder / f"die-{attempt}").exists():
            os._exit(1)
        if (self.folder / f"stop-{attempt}").exists():
            (self.folder / "stopped").write_text(str(os.getpid()))
            os.kill(os.getpid(), signal.SIGSTOP)
        while (self.folder / f"hang-{attempt}").exists():
            await asyncio.sleep(0.05)
        return number, attempt, os.getpid()

    async def shutdown(self) -> None:
        """Nothing to end."""


@pytest.fixture(scope="module")
def cluster():
    join_ray(None)
    yield
    ray.shutdown()


class Bench:
    def __init__(self, folder: Path, size: int, **patience) -> None:
        self.restored, self.lost = [], []

        async def restore(handle):
            self.restored.append(handle)

        def start(_place):
            remote = ray.remote(Worker).options(num_cpus=0, max_restarts=0)
            return remote.remote(folder)

        self.pool = ActorPool(
            start,
            size,
            restore=restore,
            on_loss=self.lost.append,
            **({"hang_s": 60.0} | patience),
        )

    async def work(self, *numbers):
        if not self.pool.handles:
            await self.pool.wait_ready()
        calls = (
            self.pool.run(
                lambda actor, attempt, n=n: actor.work.remote(n, attempt), 1.0, name=f"work {n}"
            )
            for n in numbers
        )
        return await asyncio.wait_for(asyncio.gather(*calls), timeout=60)


def test_work_is_spread_and_comes_back_once(cluster, tmp_path):
    async def scenario():
        bench = Bench(tmp_path, 2)
        answers = await bench.work(*range(20))
        await bench.pool.close()
        return bench, answers

    bench, answers = asyncio.run(scenario())
    assert [(n, a) for n, a, _ in answers] == [(n, 0) for n in range(20)]
    assert len({pid for *_, pid in answers}) == 2
    assert bench.lost == []
    assert bench.pool.num_doubled == 0


def test_a_dead_actors_work_is_done_again_and_the_actor_replaced(cluster, tmp_path):
    (tmp_path / "die-0").touch()

    async def scenario():
        bench = Bench(tmp_path, 2)
        answers = await bench.work(7)
        while bench.pool.num_restarts < 1:
            await asyncio.sleep(0.05)
        members = len(bench.pool.handles)
        await bench.pool.close()
        return bench, answers, members

    bench, [(number, attempt, _)], members = asyncio.run(scenario())
    assert (number, attempt) == (7, 1)
    assert len(bench.lost) == len(bench.restored) == 1
    assert members == 2


def test_what_a_slow_actor_has_goes_to_another_and_the_late_answer_is_ignored(cluster, tmp_path):
    async def scenario():
        bench = Bench(tmp_path, 2, slow_s=0.0)
        await bench.work(*range(4))  # how long work takes is known from here on
        (tmp_path / "hang-0").touch()
        answers = await bench.work(3)
        (tmp_path / "hang-0").unlink()
        while bench.pool.num_late < 1:
            await asyncio.sleep(0.05)
        await bench.pool.close()
        return bench, answers

    bench, answers = asyncio.run(scenario())
    assert [(n, a) for n, a, _ in answers] == [(3, 1)]
    assert bench.pool.num_doubled == bench.pool.num_late == 1
    assert bench.lost == []


def test_a_slow_actor_alone_is_waited_for(cluster, tmp_path):
    async def scenario():
        bench = Bench(tmp_path, 1, slow_s=0.0)
        await bench.work(*range(4))
        (tmp_path / "hang-0").touch()
        asked = asyncio.create_task(bench.work(3))
        await asyncio.sleep(3)  # longer than the pool takes to look again
        assert not asked.done()
        (tmp_path / "hang-0").unlink()
        answers = await asked
        await bench.pool.close()
        return bench, answers

    bench, answers = asyncio.run(scenario())
    assert [(n, a) for n, a, _ in answers] == [(3, 0)]
    assert bench.pool.num_doubled == 0


def test_a_stopped_process_counts_as_lost_and_is_ended(cluster, tmp_path):
    (tmp_path / "stop-0").touch()

    async def scenario():
        bench = Bench(tmp_path, 1, hang_s=1.0)
        answers = await bench.work(5)
        stopped = int((tmp_path / "stopped").read_text())
        while Path(f"/proc/{stopped}").exists():
            await asyncio.sleep(0.05)
        await bench.pool.close()
        return bench, answers

    bench, answers = asyncio.run(scenario())
    assert [(n, a) for n, a, _ in answers] == [(5, 1)]
    assert [cause.split(" for ")[0] for cause in bench.lost] == ["it has not answered"]


def test_an_actor_that_dies_at_its_first_start_is_started_again(cluster, tmp_path):
    (tmp_path / "no-start").touch()

    async def scenario():
        bench = Bench(tmp_path, 1)
        answers = await bench.work(1)
        await bench.pool.close()
        return bench, answers

    bench, answers = asyncio.run(scenario())
    assert [(n, a) for n, a, _ in answers] == [(1, 0)]
    assert len(bench.lost) == 1
    assert bench.restored == []  # there was nobody to catch up with


def test_what_can_never_be_built_is_not_tried_again(cluster, tmp_path):
    (tmp_path / "no-build").touch()

    async def scenario():
        bench = Bench(tmp_path, 1)
        try:
            await bench.work(1)
        finally:
            await bench.pool.close()

    with pytest.raises(ray.exceptions.RayActorError, match="can never be built"):
        asyncio.run(scenario())


def test_a_replacement_that_dies_while_it_starts_is_replaced(cluster, tmp_path):
    (tmp_path / "die-0").touch()

    async def scenario():
        bench = Bench(tmp_path, 1)
        await bench.pool.wait_ready()
        (tmp_path / "no-start").touch()
        answers = await bench.work(1)
        await bench.pool.close()
        return bench, answers

    bench, answers = asyncio.run(scenario())
    assert [(n, a) for n, a, _ in answers] == [(1, 1)]
    assert not (tmp_path / "no-start").exists()
    assert bench.pool.num_restarts == 1


def test_work_that_kills_every_actor_is_given_up(cluster, tmp_path):
    for attempt in range(3):
        (tmp_path / f"die-{attempt}").touch()

    async def scenario():
        bench = Bench(tmp_path, 1)
        try:
            await bench.work(1)
        finally:
            await bench.pool.close()

    with pytest.raises(ActorError, match="work 1 was lost with 3 actors"):
        asyncio.run(scenario())
