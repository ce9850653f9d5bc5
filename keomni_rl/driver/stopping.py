"""Leaving in order when the job is told to (SIGTERM): what must not be broken off is finished."""

import asyncio
import signal
from collections.abc import Awaitable
from typing import TypeVar

from keomni_rl.errors import StoppedError

ResultT = TypeVar("ResultT")
TOLD = "told to stop (SIGTERM)"


class Stop:
    """Set by SIGTERM from the moment that `listen` is called."""

    def __init__(self) -> None:
        self._asked = asyncio.Event()

    def listen(self) -> None:
        """Take SIGTERM as a wish to stop instead of an end at once."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self._asked.set)

    def check(self) -> None:
        """Raise StoppedError if the job was told to leave."""
        if self._asked.is_set():
            raise StoppedError(TOLD)

    async def or_raise(self, work: Awaitable[ResultT]) -> ResultT:
        """Wait for work that may be broken off.

        Raises:
            StoppedError: the job was told to leave; the work was cancelled.
        """
        return await unless(work, self._asked_error())

    async def _asked_error(self) -> StoppedError:
        await self._asked.wait()
        return StoppedError(TOLD)


async def unless(work: Awaitable[ResultT], reason: Awaitable[Exception]) -> ResultT:
    """Wait for work; if a reason to break it off comes first, cancel it and raise the reason."""
    task, other = asyncio.ensure_future(work), asyncio.ensure_future(reason)
    try:
        await asyncio.wait({task, other}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise other.result()
        return task.result()
    finally:
        task.cancel()
        other.cancel()
        await asyncio.gather(task, other, return_exceptions=True)
