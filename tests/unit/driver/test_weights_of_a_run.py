"""Who is sent what: engines that come late, a collective that breaks."""

import asyncio
from types import SimpleNamespace

import pytest

from keomni_rl.actors.learner import Sent
from keomni_rl.config.placement import ElasticPlacement, PlacementConfig, RolePlacement
from keomni_rl.config.schema import FaultsConfig
from keomni_rl.driver.run import Run
from keomni_rl.errors import LearnerLostError

SENT = Sent(num_bytes=1, pause_s=0.0, lost={})


class Learner:
    """Notes what it is asked for."""

    def __init__(self):
        self.calls, self.is_lost = [], False

    async def connect(self, destination, backend, handles, num_engine_workers, hang_s):
        self.calls.append(("connect", destination, backend, handles))

    async def publish(self, destination, version):
        self.calls.append(("publish", destination, version))
        if self.is_lost:
            raise LearnerLostError("gone")
        return SENT

    async def resend(self, destination, handle):
        self.calls.append(("resend", destination, handle))
        return SENT

    async def step(self, step, rollouts, clips):
        self.calls.append("step")
        return {}

    async def save(self, place):
        self.calls.append("save")

    async def sleep(self):
        self.calls.append("learner sleeps")

    async def wake(self):
        self.calls.append("learner wakes")


class Pool:
    """Engines by name."""

    def __init__(self, *handles):
        self.handles, self.lost = list(handles), []

    def lose(self, handle, cause):
        self.lost.append(handle)

    async def tell(self, method, *args):
        self.calls.append(" ".join(["rollouts", method, *args]))


def run_with(pool, *, gpus=0, colocated=False):
    placement = PlacementConfig(
        rollout=ElasticPlacement(gpus=gpus),
        learner=RolePlacement(gpus=gpus),
        colocated=colocated,
    )
    return Run(
        config=SimpleNamespace(placement=placement, faults=FaultsConfig()),
        id="run",
        learner=Learner(),
        rollouts=pool,
        writer=None,
        evaluators=None,
        audio=None,
        scoring=None,
        version=4,
    )


def test_a_fresh_engine_is_sent_what_the_others_were_sent():
    run = run_with(Pool("a", "b"))

    async def scenario():
        await run.restore("rollout", "early")
        await run.publish("rollout")
        await run.restore("rollout", "late")

    asyncio.run(scenario())
    assert run.learner.calls == [
        ("connect", "rollout", "cpu", ["a", "b"]),
        ("publish", "rollout", 4),
        ("resend", "rollout", "late"),
    ]


def test_a_fresh_engine_is_sent_the_learners_weights_when_all_others_were_lost():
    run = run_with(Pool())

    async def scenario():
        await run.publish("rollout")
        await run.restore("rollout", "late")

    asyncio.run(scenario())
    assert run.learner.calls == [
        ("connect", "rollout-restored", "cpu", ["late"]),
        ("publish", "rollout-restored", 4),
    ]


@pytest.mark.parametrize(("gpus", "lost"), [(0, []), (1, ["a", "b"])])
def test_engines_that_a_collective_was_broken_under_are_replaced(gpus, lost):
    run = run_with(Pool("a", "b"), gpus=gpus)
    run.learner.is_lost = True
    with pytest.raises(LearnerLostError):
        asyncio.run(run.publish("rollout"))
    assert run.rollouts.lost == lost


def test_colocated_roles_take_turns_and_the_learner_is_woken_for_a_checkpoint():
    pool = Pool("a")
    run = run_with(pool, gpus=1, colocated=True)
    pool.calls = run.learner.calls

    async def scenario():
        await run.advance([], [])
        await run.save("there")

    asyncio.run(scenario())
    assert run.learner.calls == [
        "rollouts sleep",
        "learner wakes",
        "step",
        "rollouts wake weights",
        ("connect", "rollout", "ipc", ["a"]),
        ("publish", "rollout", 5),
        "learner sleeps",
        "rollouts wake kv_cache",
        "learner wakes",
        "save",
        "learner sleeps",
    ]
