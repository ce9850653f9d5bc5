import asyncio

import pytest

from keomni_rl.actors.batching import MAX_PIECES, Batching


class Sender:
    def __init__(self) -> None:
        self.calls = []
        self.may_answer = asyncio.Event()

    async def __call__(self, works):
        self.calls.append(list(works))
        await self.may_answer.wait()
        if "bad" in works:
            raise ValueError("refused")
        return [work * 2 for work in works]


def test_what_comes_together_goes_together_and_each_gets_its_own():
    async def scenario():
        sender = Sender()
        sender.may_answer.set()
        batching = Batching(sender)
        together = await asyncio.gather(*map(batching.run, range(2 * MAX_PIECES + 3)))
        alone = await batching.run(100)
        return sender.calls, together, alone

    calls, together, alone = asyncio.run(scenario())
    assert together == [2 * n for n in range(2 * MAX_PIECES + 3)]
    assert alone == 200
    assert list(map(len, calls)) == [MAX_PIECES, MAX_PIECES, 3, 1]


def test_a_call_that_fails_fails_for_all_in_it_and_for_no_other():
    async def scenario():
        sender = Sender()
        sender.may_answer.set()
        batching = Batching(sender)
        first = await asyncio.gather(*map(batching.run, ["a", "bad"]), return_exceptions=True)
        return first, await batching.run("b")

    first, second = asyncio.run(scenario())
    assert [str(error) for error in first] == ["refused"] * 2
    assert second == "bb"


def test_one_who_leaves_takes_no_one_along():
    async def scenario():
        sender = Sender()
        batching = Batching(sender)
        leaves, stays = (asyncio.create_task(batching.run(n)) for n in (1, 2))
        while not sender.calls:
            await asyncio.sleep(0)
        leaves.cancel()
        sender.may_answer.set()
        with pytest.raises(asyncio.CancelledError):
            await leaves
        return await stays

    assert asyncio.run(scenario()) == 4
