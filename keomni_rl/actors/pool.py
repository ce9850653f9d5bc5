"""A set of like actors: work goes to the one with the least to do, the dead are replaced."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import ray
import tenacity

from keomni_rl.errors import ActorError, LostWorkError

log = logging.getLogger(__name__)
ResultT = TypeVar("ResultT")
LOST = (
    ray.exceptions.RayActorError,
    ray.exceptions.OutOfMemoryError,  # Ray ended it to save the node
    ray.exceptions.NodeDiedError,
)
"""What a call raises when its actor is gone."""
GRACE_S = 10.0
"""For an actor to end its engine before it is killed."""
MAX_STARTS = 5
"""Times that a replacement may die while it starts."""
RECHECK_S = 5.0
"""Patience may have become shorter while waiting."""
MAX_LOSSES = 3
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
        self._late: set[asyncio.Task[ResultT]] = set()
        self._failure: BaseException | None = None
        self.num_restarts = 0
        self.num_doubled = 0
        """Pieces of work given to a second actor because the first was slow."""

    @property
    def handles(self) -> list[Any]:
        """Actors that work may be given to."""
        return [member.handle for member in self._members if member.is_ready]

    async def wait_ready(self) -> None:
        """Wait for every actor's engine."""
        await asyncio.gather(*(member.handle.ready.remote() for member in self._members))
        for member in self._members:
            member.is_ready = True

    async def run(
        self,
        call: Callable[[Any, int], Any],
        cost: float,
        *,
        patience_s: Callable[[], float] | None = None,
    ) -> ResultT:
        """Have one actor do a piece of work; a lost actor's work is done again by another.

        Work that takes longer than its patience is given to a second actor as well, and the first
        answer counts ("The Tail at Scale", Dean and Barroso 2013).

        Args:
            call: given a handle and the attempt, makes the remote call.
            cost: how much work it is, in any unit that all callers share.
            patience_s: asked while waiting: how long an attempt may take; None waits for ever.

        Raises:
            LostWorkError: the work outlived several actors.
            ActorError: no actor can be kept alive.
        """
        attempts: dict[asyncio.Task[ResultT], _Member] = {}
        num_started = num_lost = 0
        try:
            while num_lost < MAX_LOSSES:
                if len(attempts) < 2 and (not attempts or self._has_other(attempts.values())):
                    member = await self._acquire(cost, not_among=list(attempts.values()))
                    attempt = asyncio.create_task(self._on(member, call, num_started, cost))
                    attempts[attempt] = member
                    num_started += 1
                    self.num_doubled += len(attempts) > 1
                for done in await _first_done(attempts, patience_s):
                    del attempts[done]
                    if not _is_loss(done.exception()):
                        return done.result()
                    num_lost += 1
        finally:
            self._let_go(attempts)
        raise LostWorkError(
            f"the same piece of work was lost with {MAX_LOSSES} actors; see the logs"
        )

    async def _on(
        self, member: _Member, call: Callable[[Any, int], Any], attempt: int, cost: float
    ) -> ResultT:
        try:
            result: ResultT = await call(member.handle, attempt)
            return result
        except LOST as error:
            if _is_loss(error):
                self.lose(member.handle, str(error).splitlines()[0])
            raise
        finally:
            member.outstanding -= cost

    def _let_go(self, attempts: dict[asyncio.Task[ResultT], _Member]) -> None:
        """An attempt whose answer came second ends by itself; what it says is not taken."""
        for task in attempts:
            self._late.add(task)
            task.add_done_callback(self._late.discard)
            task.add_done_callback(lambda done: done.cancelled() or done.exception())

    def _has_other(self, members: Any) -> bool:
        return any(m.is_ready and m not in members for m in self._members)

    async def _acquire(self, cost: float, not_among: list[_Member]) -> _Member:
        async with self._changed:
            await self._changed.wait_for(lambda: self.handles or self._failure)
        ready = [m for m in self._members if m.is_ready]
        if not ready:
            raise ActorError("a lost actor could not be replaced") from self._failure
        others = [m for m in ready if m not in not_among]
        member = min(others or ready, key=lambda m: m.outstanding)
        member.outstanding += cost
        return member

    def lose(self, handle: Any, cause: str) -> None:
        """Take a dead actor out and start another in its place; safe to call twice."""
        lost = next((m for m in self._members if m.handle == handle and m.is_ready), None)
        if lost is None:
            return
        self._on_loss(cause)
        self._members.remove(lost)
        ray.kill(lost.handle)  # one that cannot be reached may live, and hold its GPU
        repair = asyncio.create_task(self._replace())
        self._repairs.add(repair)
        repair.add_done_callback(self._repairs.discard)

    async def _replace(self) -> None:
        """Bring up another actor; one that dies while starting is replaced in its turn."""
        try:
            async for attempt in tenacity.AsyncRetrying(
                retry=tenacity.retry_if_exception_type(LOST),
                stop=tenacity.stop_after_attempt(MAX_STARTS),
                wait=tenacity.wait_exponential(min=1, max=30),
                reraise=True,
            ):
                with attempt:
                    await self._bring_up(_Member(self._start()))
        except (ray.exceptions.RayError, ActorError, RuntimeError) as error:
            self._failure = error
            log.error("a replacement actor could not be brought up: %s", error)
        async with self._changed:
            self._changed.notify_all()

    async def _bring_up(self, member: _Member) -> None:
        self._members.append(member)
        try:
            await member.handle.ready.remote()
            await self._restore(member.handle)
        except ray.exceptions.RayError:
            self._members.remove(member)
            raise
        member.is_ready = True
        self.num_restarts += 1

    async def close(self) -> None:
        """End every engine."""
        for task in (*self._repairs, *self._late):
            task.cancel()
        calls = [asyncio.wrap_future(m.handle.shutdown.remote().future()) for m in self._members]
        await asyncio.wait(calls, timeout=GRACE_S)
        for member in self._members:
            ray.kill(member.handle)


def _is_loss(error: BaseException | None) -> bool:
    """Whether an error says that the called actor is gone.

    What the call itself raised, for instance since another actor's result could not be had, comes
    as a task's error.
    """
    return isinstance(error, LOST) and not isinstance(error, ray.exceptions.RayTaskError)


async def _first_done(
    attempts: dict[asyncio.Task[ResultT], Any], patience_s: Callable[[], float] | None
) -> set[asyncio.Task[ResultT]]:
    """Attempts that have ended, or none when the only one has outlasted its patience."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    while True:
        left = None
        if patience_s and len(attempts) == 1:
            left = patience_s() - (loop.time() - started)
            if left <= 0:
                return set()
            left = min(left, RECHECK_S)
        done, _ = await asyncio.wait(attempts, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        if done:
            return done
