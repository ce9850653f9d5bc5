"""A set of like engine actors: work goes to the one with the least to do, the dead are replaced."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import ray

from keomni_rl.errors import ActorError

log = logging.getLogger(__name__)
ResultT = TypeVar("ResultT")
MAX_ATTEMPTS = 3
"""Actors that one piece of work may lose before the run stops."""


@dataclass(eq=False)
class _Member:
    handle: Any
    outstanding: float = 0.0
    is_ready: bool = False


class ActorPool(Generic[ResultT]):
    """Actors of one role.

    Args:
        start: starts one actor and returns its handle.
        size: how many.
        restore: brings a fresh actor to where the others are, before its first work.
        on_loss: told of every actor lost.
    """

    def __init__(
        self,
        start: Callable[[], Any],
        size: int,
        *,
        restore: Callable[[Any], Awaitable[None]],
        on_loss: Callable[[str], None],
    ) -> None:
        self._start = start
        self._restore = restore
        self._on_loss = on_loss
        self._members = [_Member(start()) for _ in range(size)]
        self._changed = asyncio.Condition()
        self._repairs: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None
        self.num_restarts = 0

    @property
    def handles(self) -> list[Any]:
        """Actors that work may be given to."""
        return [member.handle for member in self._members if member.is_ready]

    async def wait_ready(self) -> None:
        """Wait for every actor's engine."""
        await asyncio.gather(*(member.handle.ready.remote() for member in self._members))
        for member in self._members:
            member.is_ready = True

    async def run(self, call: Callable[[Any, int], Any], cost: float) -> ResultT:
        """Have one actor do a piece of work; a lost actor's work is done again by another.

        Args:
            call: given a handle and the attempt, makes the remote call.
            cost: how much work it is, in any unit that all callers share.

        Raises:
            ActorError: the work outlived several actors, or no actor can be kept alive.
        """
        for attempt in range(MAX_ATTEMPTS):
            member = await self._acquire(cost)
            try:
                result: ResultT = await call(member.handle, attempt)
                return result
            except ray.exceptions.RayActorError as error:
                self.lose(member.handle, str(error).splitlines()[0])
            finally:
                member.outstanding -= cost
        raise ActorError(
            f"the same piece of work was lost with {MAX_ATTEMPTS} actors; see the logs"
        )

    async def _acquire(self, cost: float) -> _Member:
        async with self._changed:
            await self._changed.wait_for(lambda: self.handles or self._failure)
        if self._failure:
            raise ActorError("a lost actor could not be replaced") from self._failure
        member = min((m for m in self._members if m.is_ready), key=lambda m: m.outstanding)
        member.outstanding += cost
        return member

    def lose(self, handle: Any, cause: str) -> None:
        """Take a dead actor out and start another in its place; safe to call twice."""
        lost = next((m for m in self._members if m.handle == handle and m.is_ready), None)
        if lost is None:
            return
        self._on_loss(cause)
        self._members.remove(lost)
        repair = asyncio.create_task(self._replace())
        self._repairs.add(repair)
        repair.add_done_callback(self._repairs.discard)

    async def _replace(self) -> None:
        member = _Member(self._start())
        self._members.append(member)
        try:
            await member.handle.ready.remote()
            await self._restore(member.handle)
            member.is_ready = True
            self.num_restarts += 1
        except (ray.exceptions.RayError, ActorError, RuntimeError) as error:
            self._failure = error
            log.error("a replacement actor could not be brought up: %s", error)
        async with self._changed:
            self._changed.notify_all()

    async def close(self) -> None:
        """End every engine."""
        for repair in self._repairs:
            repair.cancel()
        calls = [member.handle.shutdown.remote() for member in self._members]
        await asyncio.gather(*calls, return_exceptions=True)
        for member in self._members:
            ray.kill(member.handle)
