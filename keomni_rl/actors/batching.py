"""Puts pieces of work that come up together into one remote call.

A remote call costs the driver more than all else that it does with a group, and groups come in
bursts. Work waits for a few milliseconds; a piece that comes alone goes alone.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

WorkT = TypeVar("WorkT")
ResultT = TypeVar("ResultT")
WINDOW_S = 0.005
MAX_PIECES = 16
"""In one call."""


@dataclass(eq=False, slots=True)
class _Batch(Generic[WorkT, ResultT]):
    works: list[WorkT]
    results: asyncio.Task[Sequence[ResultT]]


class Batching(Generic[WorkT, ResultT]):
    """Pieces of work one by one on this side, several at once on the other.

    Args:
        send: does several pieces of work; returns a result for each, in their order. What it raises
            is raised for every one of them.
    """

    def __init__(self, send: Callable[[Sequence[WorkT]], Awaitable[Sequence[ResultT]]]) -> None:
        self._send = send
        self._open: _Batch[WorkT, ResultT] | None = None

    async def run(self, work: WorkT) -> ResultT:
        """Do one piece of work."""
        if self._open is None:
            works: list[WorkT] = []
            self._open = _Batch(works, asyncio.create_task(self._send_soon(works)))
        batch, index = self._open, len(self._open.works)
        batch.works.append(work)
        if len(batch.works) == MAX_PIECES:
            self._open = None
        return (await asyncio.shield(batch.results))[index]

    async def _send_soon(self, works: list[WorkT]) -> Sequence[ResultT]:
        await asyncio.sleep(WINDOW_S)
        if self._open and self._open.works is works:
            self._open = None
        return await self._send(works)
