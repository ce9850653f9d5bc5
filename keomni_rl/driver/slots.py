"""The groups that are alive: started in the stream's order, handed out as they come, replaced.

A slot is the right to have one group alive; there are (max_staleness + 1) * groups_per_step. A
slot is freed when the weights that its group helped to make are published. A step takes the oldest
groups that are there and waits for a late one only when no later step could take it without it
being more than max_staleness versions old. With max_staleness 0 that is every group, in order.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from keomni_rl.algorithms.advantage import has_signal
from keomni_rl.algorithms.slot_rule import choose_groups
from keomni_rl.config.schema import RunConfig
from keomni_rl.driver.account import Account
from keomni_rl.driver.group_metrics import staleness
from keomni_rl.driver.journey import Arrived
from keomni_rl.errors import EngineError
from keomni_rl.observe.sinks import write_event
from keomni_rl.storage.manifest import RunState

MAX_REJECTED = 3
"""Times that one group may come back too stale before the run stops."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What one optimizer step learns from."""

    groups: dict[int, Arrived]
    """By position in the stream, the oldest first."""
    num_dropped: int
    """Groups that were passed over since all their rewards were equal."""


@dataclass(slots=True)
class _Alive:
    task: asyncio.Task[Arrived]
    version: int
    """Of the weights when it was started."""
    num_rejected: int = 0


@dataclass(eq=False)
class Slots:
    """The groups alive, by position in the stream."""

    config: RunConfig
    travel: Callable[[int], Coroutine[Any, Any, Arrived]]
    """Takes the prompt at a position to where it can be trained on."""
    account: Account
    state: RunState = field(default_factory=RunState)
    """Where the stream is taken up."""
    _alive: dict[int, _Alive] = field(default_factory=dict)
    _ready: dict[int, Arrived] = field(default_factory=dict)
    _came: list[int] = field(default_factory=list)
    _comes: asyncio.Event = field(default_factory=asyncio.Event)
    _num_dropped: int = 0
    _next: int = 0

    def __post_init__(self) -> None:
        self._next = self.state.position

    @property
    def position(self) -> int:
        """All groups before it are trained on or dropped."""
        return min(self._alive, default=self._next)

    @property
    def ahead(self) -> tuple[int, ...]:
        """Positions after `position` that are trained on or dropped already."""
        begun = {*range(self.position, self._next), *self.state.ahead}
        return tuple(sorted(i for i in begun - self._alive.keys() if i >= self.position))

    @property
    def num_alive(self) -> int:
        """Slots that are taken."""
        return len(self._alive)

    @property
    def num_ready(self) -> int:
        """Groups alive that the learner can have, or has."""
        return sum(alive.task.done() for alive in self._alive.values())

    def fill(self, version: int) -> None:
        """Start a group in every free slot, under the version that rollout actors hold."""
        while len(self._alive) < self.config.slots:
            self._start(version)

    async def next_batch(self, version: int) -> Batch:
        """Groups for one step; they keep their slots until `free`.

        Consumes: groups alive. Waits for: as many as a step takes, and those that cannot wait.
        Unblocked by: rollout, reward and reference actors.

        Args:
            version: of the weights that will learn from them.
        """
        while (chosen := self._choose(version)) is None:
            await self._comes.wait()
            self._take_in(version)
        num_dropped, self._num_dropped = self._num_dropped, 0
        return Batch({index: self._ready.pop(index) for index in chosen}, num_dropped)

    def free(self, batch: Batch) -> None:
        """Give back the slots of a batch whose weights are published."""
        self.account.trained += len(batch.groups)
        for index in batch.groups:
            del self._alive[index]

    async def close(self) -> None:
        """Break off what is alive."""
        tasks = [alive.task for alive in self._alive.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.account.unfinished += len(tasks)
        self._alive.clear()

    def _choose(self, version: int) -> list[int] | None:
        """The groups that a step should take now; None as long as it has to wait."""
        train = self.config.train
        if len(self._ready) < train.groups_per_step:
            return None
        chosen = choose_groups(
            {index: alive.version for index, alive in self._alive.items()},
            self._ready,
            size=train.groups_per_step,
            max_staleness=train.max_staleness,
            version=version,
        )
        if chosen is None:
            return None
        if too_old := [index for index in chosen if self._is_too_old(index, version)]:
            for index in too_old:
                self._sample_anew(index, version)
            return None
        return chosen

    def _take_in(self, version: int) -> None:
        """Look at the groups that have come; one without a signal makes room for another."""
        self._comes.clear()
        came, self._came = self._came, []
        for index in came:
            arrived = self._alive[index].task.result()
            rewards = [reward.total for reward in arrived.rollout.rewards]
            if self.config.train.dynamic_sampling and not has_signal(rewards):
                self._num_dropped += 1
                del self._alive[index]
                self._drop(index, "equal rewards")
                self._start(version)
            else:
                self._ready[index] = arrived

    def _start(self, version: int) -> None:
        while self._next in self.state.ahead:
            self._next += 1
        self._alive[self._next] = _Alive(self._travel(self._next), version)
        self._next += 1

    def _travel(self, index: int) -> asyncio.Task[Arrived]:
        self.account.started += 1
        task = asyncio.create_task(self.travel(index))
        task.add_done_callback(lambda _: self._note(index))
        return task

    def _note(self, index: int) -> None:
        self._came.append(index)
        self._comes.set()

    def _is_too_old(self, index: int, version: int) -> bool:
        """Slots keep groups young; a rollout actor may answer under weights taken back from it."""
        train = self.config.train
        age = max(staleness(self._ready[index].rollout, version), default=0)
        return train.too_stale == "reject" and age > train.max_staleness

    def _sample_anew(self, index: int, version: int) -> None:
        alive = self._alive[index]
        age = max(staleness(self._ready.pop(index).rollout, version))
        if alive.num_rejected == MAX_REJECTED - 1:
            raise EngineError(
                f"group {index} was sampled under weights of more than train.max_staleness "
                f"{self.config.train.max_staleness} versions ago, {MAX_REJECTED} times; a rollout "
                "actor does not take new weights"
            )
        self._drop(index, "too stale", age=age)
        self._alive[index] = _Alive(self._travel(index), version, alive.num_rejected + 1)

    def _drop(self, index: int, reason: str, **details: Any) -> None:
        self.account.dropped[reason] += 1
        write_event(self.config.folder, "group dropped", index=index, reason=reason, **details)
