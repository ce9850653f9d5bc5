"""A set of like actors: work goes to the least busy one, the dead and the hung are replaced."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Generic, TypeVar

import ray
import tenacity

from keomni_rl.actors.loss import LOST, first_line, has_failed_to_build, is_loss
from keomni_rl.errors import ActorError, LostWorkError

log = logging.getLogger(__name__)
ResultT = TypeVar("ResultT")
GIVEN_UP = (ray.exceptions.RayError, ActorError, RuntimeError)
"""Why an actor that was to be added is not there."""
GRACE_S = 10.0
"""For an actor to end its engine before it is killed."""
MAX_STARTS = 5
"""Times in a row that an actor may die while it starts."""
MAX_LOSSES = 3
"""Actors that one piece of work may lose before the run stops."""
RECHECK_S = 2.0
"""How often a piece of work that is waited for looks whether its actor has become slow or hung."""
HUNG = 10.0
"""An actor is hung when it has answered nothing for the pool's ``hang_s`` and for this many times
as long as the longest piece of work has taken..."""
SLOW = 3.0
"""...and slow when one piece takes this many times as long as the longest, and ``slow_s``."""


@dataclass(eq=False)
class _Member:
    handle: Any
    place: int
    is_ready: bool = False
    outstanding: float = 0.0
    attempts: set[asyncio.Task[Any]] = field(default_factory=set)
    last_sign_s: float = 0.0
    """When it last gave an answer, or got work while it had none."""


class ActorPool(Generic[ResultT]):
    """Actors of one role.

    Args:
        start: starts the actor of one place, by number, and returns its handle.
        size: how many places.
        extra: more actors, beyond them, that join whenever the cluster has room for one.
        restore: brings an actor that replaces another to where the others are, before its first
            work.
        on_join: told of every actor that joins beside the first ones.
        on_loss: told of every actor lost.
        on_replaced: told of every actor that is ready in place of a lost one.
        hang_s: seconds without any answer before an actor with work counts as hung, at least.
        slow_s: seconds before a piece of work is given to a second actor as well, at least; None
            for work that is not to be done twice.
    """

    def __init__(
        self,
        start: Callable[[int], Any],
        size: int,
        *,
        extra: int = 0,
        on_join: Callable[[], None] = lambda: None,
        restore: Callable[[Any], Awaitable[None]] | None = None,
        on_loss: Callable[[str], None],
        on_replaced: Callable[[], None] = lambda: None,
        hang_s: float,
        slow_s: float | None = None,
    ) -> None:
        self._start = start
        self._restore = restore
        self._on_loss, self._on_replaced = on_loss, on_replaced
        self._hang_s, self._slow_s = hang_s, slow_s
        self._members = [_Member(start(place), place) for place in range(size)]
        self._joining = range(size, size + extra)
        self._on_join = on_join
        self._changed = asyncio.Condition()
        self._arriving: set[asyncio.Task[None]] = set()
        self._num_repairs = 0
        self._late: set[asyncio.Task[Any]] = set()
        self._failure: BaseException | None = None
        self._longest_s = 0.0
        """Of all pieces of work so far."""
        self.num_restarts = 0
        self.num_doubled = 0
        """Pieces of work given to a second actor because the first was slow."""
        self.num_late = 0
        """Answers that came after another one to the same question, and were not taken."""

    @property
    def handles(self) -> list[Any]:
        """Actors that work may be given to."""
        return [member.handle for member in self._members if member.is_ready]

    @property
    def num_actors(self) -> int:
        """Ready or starting."""
        return len(self._members)

    @property
    def num_in_hand(self) -> int:
        """Pieces of work given to actors and not answered yet."""
        return sum(len(member.attempts) for member in self._members)

    async def wait_ready(self) -> None:
        """Wait for every actor's engine; one that dies while it starts is started again.

        Raises:
            ActorError: an actor died each time that it was started.
        """
        await asyncio.gather(*(self._first_start(member) for member in list(self._members)))

    def let_join(self) -> None:
        """From now on take in every extra actor as soon as there is room for it."""
        for place in self._joining:
            self._in_background(self._join(place))

    async def _first_start(self, member: _Member) -> None:
        try:
            await self._bring_up(member)
        except LOST as error:
            if has_failed_to_build(error):
                raise
            self._on_loss(first_line(error))
            await self._start_another(member.place)

    async def run(self, call: Callable[[Any, int], Any], cost: float, *, name: str) -> ResultT:
        """Have one actor do a piece of work; a lost actor's work is done again by another.

        In a pool with ``slow_s``, work that takes too long is given to a second actor as well, and
        the first answer counts ("The Tail at Scale", Dean and Barroso 2013).

        Args:
            call: given a handle and the attempt, makes the remote call.
            cost: how much work it is, in any unit that all callers share.
            name: of the work, for messages.

        Raises:
            LostWorkError: the work outlived several actors.
            ActorError: no actor can be kept alive.
        """
        attempts: dict[asyncio.Task[ResultT], _Member] = {}
        num_started = num_lost = 0
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            while num_lost < MAX_LOSSES:
                if not attempts or self._wants_second(attempts, loop.time() - started):
                    member = await self._acquire(cost, not_among=list(attempts.values()))
                    attempt = asyncio.create_task(self._on(member, call, num_started, cost))
                    attempts[attempt] = member
                    member.attempts.add(attempt)
                    num_started += 1
                    self.num_doubled += len(attempts) > 1
                    started = loop.time()
                done, _ = await asyncio.wait(
                    attempts, timeout=RECHECK_S, return_when=asyncio.FIRST_COMPLETED
                )
                for one in done:
                    member = attempts.pop(one)
                    if not one.cancelled() and not is_loss(one.exception()):
                        result = one.result()
                        self._longest_s = max(self._longest_s, loop.time() - started)
                        return result
                    num_lost += 1
                for member in attempts.values():
                    self._lose_if_hung(member)
        finally:
            self._let_go(attempts)
        raise LostWorkError(
            f"{name} was lost with {MAX_LOSSES} actors, one after the other, and may be the cause; "
            "see the actors' logs"
        )

    async def tell(self, method: str, *args: Any) -> None:
        """Have every actor do something; one that is lost over it is replaced."""

        async def one(handle: Any) -> None:
            try:
                await getattr(handle, method).remote(*args)
            except LOST as error:
                if not is_loss(error):
                    raise
                self.lose(handle, first_line(error))

        await asyncio.gather(*map(one, self.handles))

    async def _on(
        self, member: _Member, call: Callable[[Any, int], Any], attempt: int, cost: float
    ) -> ResultT:
        try:
            result: ResultT = await call(member.handle, attempt)
        except LOST as error:
            if is_loss(error):
                self.lose(member.handle, first_line(error))
            raise
        finally:
            member.outstanding -= cost
            member.attempts -= {asyncio.current_task()}
        member.last_sign_s = asyncio.get_running_loop().time()
        return result

    def _wants_second(
        self, attempts: dict[asyncio.Task[ResultT], _Member], waited_s: float
    ) -> bool:
        if self._slow_s is None or not self._longest_s or len(attempts) > 1:
            return False
        is_slow = waited_s > max(self._slow_s, SLOW * self._longest_s)
        taken = attempts.values()
        return is_slow and any(m.is_ready and m not in taken for m in self._members)

    def _lose_if_hung(self, member: _Member) -> None:
        silent_s = asyncio.get_running_loop().time() - member.last_sign_s
        if member.is_ready and silent_s > max(self._hang_s, HUNG * self._longest_s):
            self.lose(member.handle, f"it has not answered for {silent_s:.0f} s")

    def _let_go(self, attempts: dict[asyncio.Task[ResultT], _Member]) -> None:
        """An attempt whose answer comes second ends by itself; what it says is not taken."""
        for task in attempts:
            self._late.add(task)
            task.add_done_callback(self._count_late)

    def _count_late(self, task: asyncio.Task[ResultT]) -> None:
        self._late.discard(task)
        self.num_late += not task.cancelled() and task.exception() is None

    async def _acquire(self, cost: float, not_among: list[_Member]) -> _Member:
        await self.wait_for_any()
        ready = [m for m in self._members if m.is_ready]
        others = [m for m in ready if m not in not_among] if not_among else ready
        member = min(others or ready, key=attrgetter("outstanding"))
        if not member.attempts:
            member.last_sign_s = asyncio.get_running_loop().time()
        member.outstanding += cost
        return member

    async def wait_for_any(self) -> None:
        """Wait until there is an actor that work may be given to.

        Raises:
            ActorError: no actor can be kept alive.
        """
        async with self._changed:
            await self._changed.wait_for(
                lambda: (
                    any(m.is_ready for m in self._members)
                    or (self._failure and not self._num_repairs)
                )
            )
        if not any(m.is_ready for m in self._members):
            raise ActorError("all actors were lost and could not be replaced") from self._failure

    def lose(self, handle: Any, cause: str) -> None:
        """Take a dead actor out and start another in its place; safe to call twice."""
        lost = next((m for m in self._members if m.handle == handle and m.is_ready), None)
        if lost is None:
            return
        self._on_loss(cause)
        self._members.remove(lost)
        ray.kill(lost.handle)  # one that cannot be reached may live, and hold its GPU
        for attempt in lost.attempts - {asyncio.current_task()}:
            attempt.cancel()
        self._num_repairs += 1
        self._in_background(self._replace(lost.place))

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._arriving.add(task)
        task.add_done_callback(self._arriving.discard)

    async def _replace(self, place: int) -> None:
        try:
            await self._start_another(place, self._restore)
            self.num_restarts += 1
            self._on_replaced()
        except GIVEN_UP as error:
            self._failure = error
            log.error("a replacement actor could not be brought up: %s", error)
        self._num_repairs -= 1
        await self._tell_change()

    async def _join(self, place: int) -> None:
        try:
            await self._start_another(place, self._restore)
        except GIVEN_UP as error:
            log.error("an actor that was to join could not be brought up: %s", error)
            return
        self._on_join()
        await self._tell_change()

    async def _tell_change(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _start_another(
        self, place: int, restore: Callable[[Any], Awaitable[None]] | None = None
    ) -> None:
        """Bring up another actor, backing off; one that dies while it starts is replaced too."""
        async for attempt in tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(
                lambda error: (
                    isinstance(error, ActorError)
                    or (is_loss(error) and not has_failed_to_build(error))
                )
            ),
            stop=tenacity.stop_after_attempt(MAX_STARTS),
            wait=tenacity.wait_exponential(min=1, max=30),
            reraise=True,
        ):
            with attempt:
                member = _Member(self._start(place), place)
                self._members.append(member)
                await self._bring_up(member, restore)

    async def _bring_up(
        self, member: _Member, restore: Callable[[Any], Awaitable[None]] | None = None
    ) -> None:
        try:
            await member.handle.ready.remote()
            if restore:
                await restore(member.handle)
        except BaseException:
            self._members.remove(member)
            ray.kill(member.handle)
            raise
        member.is_ready = True

    async def close(self) -> None:
        """End every engine."""
        for task in (*self._arriving, *self._late):
            task.cancel()
        ready = [member for member in self._members if member.is_ready]
        calls = [asyncio.wrap_future(m.handle.shutdown.remote().future()) for m in ready]
        if calls:
            await asyncio.wait(calls, timeout=GRACE_S)
        for member in self._members:
            ray.kill(member.handle)
