"""The slot rule on its own: which groups are alive, which a step takes, what is waited for."""

import asyncio
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keomni_rl.config import RunConfig
from keomni_rl.driver.account import Account
from keomni_rl.driver.checkpoints import RunState
from keomni_rl.driver.journey import Arrived
from keomni_rl.driver.slots import MAX_REJECTED, Slots
from keomni_rl.errors import EngineError
from keomni_rl.types import (
    Completion,
    FinishReason,
    Group,
    GroupKey,
    Prompt,
    Question,
    Reward,
    RolloutGroup,
)

SIZE = 3


def arrived(index: int, version: int, rewards=(1.0, 2.0)) -> Arrived:
    empty = np.zeros(0, np.float32)
    completion = Completion(
        token_ids=np.zeros(0, np.int32),
        rollout_logprobs=empty,
        text="",
        finish_reason=FinishReason.STOP,
        policy_version=(version, version),
    )
    question = Question(id=str(index), question="?", choices=("a", "b"), answer="a", audio="a.wav")
    group = Group(
        key=GroupKey("run", index),
        prompt=Prompt(question=question, text=""),
        prompt_ids=np.zeros(0, np.int32),
        completions=(completion,) * len(rewards),
    )
    scored = tuple(Reward(total=reward, breakdown={}) for reward in rewards)
    return Arrived(RolloutGroup(group=group, rewards=scored, advantages=empty), None, {})


class Engines:
    """Groups come when the test lets them, under the version that engines hold then."""

    def __init__(self, folder, *, max_staleness: int, state=None, **train) -> None:
        config = RunConfig.model_validate(
            {
                "run_dir": folder,
                "model": {"path": "m"},
                "data": {"train": ["q.jsonl"]},
                "train": {"groups_per_step": SIZE, "max_staleness": max_staleness} | train,
            }
        )
        self.version = 0
        self.rewards = {}
        self.begun = []
        self.account = Account()
        self._may_come = {}
        self.slots = Slots(config, self._travel, self.account, state or RunState())

    async def _travel(self, index: int) -> Arrived:
        version = self.version
        self.begun.append(index)
        self._may_come[index] = asyncio.Event()
        await self._may_come[index].wait()
        return arrived(index, version, self.rewards.get(index, (1.0, 2.0)))

    async def let_come(self, *indices: int) -> None:
        await settled()
        for index in indices:
            self._may_come[index].set()
        await settled()

    async def let_all_come(self, but=()) -> None:
        await settled()
        await self.let_come(
            *(i for i, e in self._may_come.items() if not e.is_set() and i not in but)
        )

    async def step(self) -> list[int]:
        batch = await asyncio.wait_for(self.slots.next_batch(self.version), timeout=20)
        self.version += 1
        self.slots.free(batch)
        self.slots.fill(self.version)
        return list(batch.groups)


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def test_synchronous_training_takes_every_group_in_order(tmp_path):
    async def scenario():
        engines = Engines(tmp_path, max_staleness=0)
        engines.slots.fill(0)
        await engines.let_come(2, 1)
        step = asyncio.create_task(engines.step())
        await settled()
        assert not step.done()
        await engines.let_come(0)
        assert await step == [0, 1, 2]
        await engines.let_all_come()
        assert await engines.step() == [3, 4, 5]
        await engines.slots.close()

    asyncio.run(scenario())


def test_a_late_group_is_left_for_a_later_step_and_then_waited_for(tmp_path):
    async def scenario():
        engines = Engines(tmp_path, max_staleness=2)
        engines.slots.fill(0)
        await engines.let_all_come(but=[1])
        assert await engines.step() == [0, 2, 3]
        assert (engines.slots.position, engines.slots.ahead) == (1, (2, 3))
        await engines.let_all_come(but=[1])
        assert await engines.step() == [4, 5, 6]
        await engines.let_all_come(but=[1])
        step = asyncio.create_task(engines.step())  # the last one that may take group 1
        await settled()
        assert not step.done()
        await engines.let_come(1)
        assert await step == [1, 7, 8]
        await engines.slots.close()

    asyncio.run(scenario())


def test_groups_that_were_taken_ahead_are_not_begun_again(tmp_path):
    async def scenario():
        state = RunState(step=1, version=1, position=1, ahead=(2, 5))
        engines = Engines(tmp_path, max_staleness=0, state=state)
        engines.slots.fill(1)
        await engines.let_all_come()
        assert engines.begun == [1, 3, 4]
        assert (engines.slots.position, engines.slots.ahead) == (1, (2, 5))
        await engines.slots.close()

    asyncio.run(scenario())


def test_equal_rewards_make_room_at_once(tmp_path):
    async def scenario():
        engines = Engines(tmp_path, max_staleness=0, dynamic_sampling=True)
        engines.rewards[1] = (1.0, 1.0)
        engines.slots.fill(0)
        step = asyncio.create_task(engines.step())
        await engines.let_come(1)
        assert engines.begun == [0, 1, 2, 3]  # though nothing else has come yet
        await engines.let_come(0, 2, 3)
        assert await step == [0, 2, 3]
        assert engines.account.dropped == Counter({"equal rewards": 1})
        await engines.slots.close()

    asyncio.run(scenario())


def test_a_group_of_weights_taken_back_is_sampled_anew_and_not_for_ever(tmp_path):
    async def scenario():
        engines = Engines(tmp_path, max_staleness=0)
        engines.slots.fill(0)
        step = asyncio.create_task(engines.slots.next_batch(1))  # engines still hold version 0
        for _ in range(MAX_REJECTED):
            await engines.let_all_come()
        with pytest.raises(EngineError, match="group 0 was sampled .* 3 times"):
            await step
        assert engines.account.dropped["too stale"] >= MAX_REJECTED - 1
        await engines.slots.close()

    asyncio.run(scenario())


@settings(max_examples=60)
@given(
    st.integers(0, 3),
    st.integers(1, 12),
    st.lists(st.integers(0, 40), min_size=1, max_size=60),
    st.integers(0, 12),
)
def test_whatever_comes_when_no_group_is_too_old_lost_or_doubled(
    tmp_path_factory, max_staleness, num_steps, order, broken_off_at
):
    folder = tmp_path_factory.mktemp("slots")

    async def train(state: RunState, steps: int):
        engines = Engines(folder, max_staleness=max_staleness, state=state)
        engines.version = state.version
        engines.slots.fill(engines.version)
        taken, ages, turns = [], [], iter(order * 1000)
        started_at = {}
        for _ in range(steps):
            await settled()
            for index in engines.begun:
                started_at.setdefault(index, engines.version)
            step = asyncio.create_task(engines.step())
            await settled()
            while not step.done():
                waiting = sorted(i for i, e in engines._may_come.items() if not e.is_set())
                await engines.let_come(waiting[next(turns) % len(waiting)])
            ages += [engines.version - 1 - started_at[index] for index in step.result()]
            taken += step.result()
        where = RunState(
            version=engines.version, position=engines.slots.position, ahead=engines.slots.ahead
        )
        assert engines.slots.num_alive == (max_staleness + 1) * SIZE
        await engines.slots.close()
        return taken, ages, where

    async def scenario():
        first, ages, where = await train(RunState(), min(broken_off_at, num_steps))
        second, more, where = await train(where, num_steps - min(broken_off_at, num_steps))
        return first + second, ages + more, where

    taken, ages, where = asyncio.run(scenario())
    assert len(taken) == num_steps * SIZE
    assert max(ages, default=0) <= max_staleness
    assert sorted(taken) == sorted({*range(where.position), *where.ahead})
