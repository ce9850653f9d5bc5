"""The groups that are alive: started in the stream's order, handed out in that order, replaced.

A slot is the right to have one group alive; there are (max_staleness + 1) * groups_per_step. A
slot is freed when the weights that its group helped to make are published, so no group is ever
more than max_staleness versions old.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Any

from keomni_rl.algorithms.advantage import has_signal
from keomni_rl.data.stream import PromptStream
from keomni_rl.driver.account import Account
from keomni_rl.driver.group_metrics import staleness
from keomni_rl.driver.journey import Arrived, travel
from keomni_rl.driver.run import Run
from keomni_rl.errors import EngineError
from keomni_rl.observe.sinks import write_event

MAX_REJECTED = 3
"""Times that one group may come back too stale before the run stops."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What one optimizer step learns from."""

    groups: list[Arrived]
    num_dropped: int
    """Groups that were passed over since all their rewards were equal."""
    end: int
    """Position in the stream of the group after the last one."""


@dataclass(eq=False)
class Slots:
    """Tasks of the groups alive, by position in the stream."""

    run: Run
    stream: PromptStream
    position: int
    """Groups before it are trained on or dropped."""
    account: Account
    _alive: dict[int, asyncio.Task[Arrived]] = field(default_factory=dict)
    _next: int = 0

    def __post_init__(self) -> None:
        self._next = self.position

    def fill(self) -> None:
        """Start a group in every free slot."""
        while len(self._alive) < self.run.config.slots:
            self._start()

    async def next_batch(self, version: int) -> Batch:
        """The oldest groups; they keep their slots until `free`.

        Consumes: groups alive. Waits for: those at the front. Unblocked by: rollout, reward and
        reference actors.

        Args:
            version: of the weights that will learn from them.
        """
        groups: list[Arrived] = []
        num_dropped, end = 0, self.position
        while len(groups) < self.run.config.train.groups_per_step:
            arrived = await self._fresh(end, version)
            rewards = [reward.total for reward in arrived.rollout.rewards]
            if self.run.config.train.dynamic_sampling and not has_signal(rewards):
                num_dropped += 1
                del self._alive[end]
                self._drop(end, "equal rewards")
                self._start()
            else:
                groups.append(arrived)
            end += 1
        return Batch(groups, num_dropped, end)

    def free(self, batch: Batch) -> None:
        """Give back the slots of a batch whose weights are published."""
        self.account.trained += len(batch.groups)
        self.position = batch.end
        for index in [index for index in self._alive if index < batch.end]:
            del self._alive[index]

    async def close(self) -> None:
        """Break off what is alive."""
        for task in self._alive.values():
            task.cancel()
        await asyncio.gather(*self._alive.values(), return_exceptions=True)
        self.account.unfinished += len(self._alive)

    def _start(self) -> None:
        self._alive[self._next] = self._travel(self._next)
        self._next += 1

    def _travel(self, index: int) -> asyncio.Task[Arrived]:
        self.account.started += 1
        return asyncio.create_task(travel(self.run, index, self.stream[index]))

    async def _fresh(self, index: int, version: int) -> Arrived:
        """The group at a position; one that is older than allowed is sampled anew, if so set.

        Slots keep groups young. This is for a rollout actor that answers under weights which were
        taken back from it.
        """
        train = self.run.config.train
        for _ in range(MAX_REJECTED):
            arrived = await self._alive[index]
            age = max(staleness(arrived.rollout, version), default=0)
            if train.too_stale == "train" or age <= train.max_staleness:
                return arrived
            self._drop(index, "too stale", age=age)
            self._alive[index] = self._travel(index)
        raise EngineError(
            f"group {index} was sampled under weights of more than train.max_staleness "
            f"{train.max_staleness} versions ago, {MAX_REJECTED} times; a rollout actor does not "
            "take new weights"
        )

    def _drop(self, index: int, reason: str, **details: Any) -> None:
        self.account.dropped[reason] += 1
        write_event(self.run.config.folder, "group dropped", index=index, reason=reason, **details)
