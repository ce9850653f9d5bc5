import asyncio
import os
import signal

import pytest

from keomni_rl.driver.stopping import Stop
from keomni_rl.errors import StoppedError


def test_sigterm_breaks_off_what_may_be_and_lets_the_rest_end():
    done = []

    async def scenario():
        stop = Stop()
        stop.listen()
        assert await stop.or_raise(asyncio.sleep(0, "value")) == "value"
        waiting = asyncio.create_task(stop.or_raise(forever(done)))
        await asyncio.sleep(0)
        stop.check()
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(StoppedError):
            await waiting
        with pytest.raises(StoppedError):
            stop.check()

    async def forever(done):
        try:
            await asyncio.Event().wait()
        finally:
            done.append("cancelled")

    asyncio.run(scenario())
    assert done == ["cancelled"]


def test_what_the_work_raises_is_raised():
    async def scenario():
        async def fail():
            raise KeyError("mine")

        await Stop().or_raise(fail())

    with pytest.raises(KeyError, match="mine"):
        asyncio.run(scenario())
