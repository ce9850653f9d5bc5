"""Leaving in order when the job is told to (SIGTERM): what must not be broken off is finished."""

import asyncio
import signal
from collections.abc import Awaitable
from typing import TypeVar

from keomni_rl.errors import StoppedError

ResultT = TypeVar("ResultT")


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
            raise StoppedError("told to stop (SIGTERM)")

    async def or_raise(self, work: Awaitable[ResultT]) -> ResultT:
        """Wait for work that may be broken off.

        Raises:
            StoppedError: the job was told to leave; the work was cancelled.
        """
        task = asyncio.ensure_future(work)
        asked = asyncio.create_task(self._asked.wait())
        try:
            await asyncio.wait({task, asked}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                self.check()
            return task.result()
        finally:
            asked.cancel()
            task.cancel()
            await asyncio.gather(task, asked, return_exceptions=True)
