"""Everything a running training has, in one object: the actors' handles and the weights' way.

`keomni_rl.driver.topology` starts it. Whoever gets work holds the learner's weights: after each
step rollout actors are sent the new ones, and an actor that is started in place of a lost one gets
what the others were given before its first prompt.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from keomni_rl.actors.audio import Clips
from keomni_rl.actors.learner import NOTHING_SENT, Sent
from keomni_rl.actors.learner_group import LearnerGroup
from keomni_rl.actors.pool import ActorPool
from keomni_rl.config.placement import RolePlacement
from keomni_rl.config.schema import RunConfig
from keomni_rl.driver.scoring import Scoring
from keomni_rl.driver.specs import learner_spec, transfer_backend
from keomni_rl.errors import ActorError, LearnerLostError, WeightSyncError
from keomni_rl.storage.manifest import Listed, RunState
from keomni_rl.types import Group, Prediction, RolloutGroup


@dataclass(frozen=True, slots=True)
class Advance:
    """What one step came to."""

    metrics: dict[str, float]
    sent: Sent
    """To rollout actors."""
    learner_s: float
    publish_s: float


@dataclass(eq=False)
class Run:
    """Handles of all actors of one run."""

    config: RunConfig
    id: str
    """Unlike that of any other start, this one's resumption included."""
    learner: LearnerGroup
    rollouts: ActorPool[Group] | None
    """None in supervised training, whose completions a writer actor makes of the questions."""
    writer: Any | None
    evaluators: ActorPool[Prediction] | None
    audio: Clips
    scoring: Scoring | None
    """None in supervised training, which scores nothing."""
    step: int = 0
    """Optimizer steps done."""
    version: int = 0
    """Of the learner's weights, which rollout actors hold too. It grows with every step and is
    never given to other weights: not even when a lost learner takes steps with it."""
    given: dict[str, int] = field(default_factory=dict)
    """Version that the actors of a role were given last."""
    ready_s: dict[str, float] = field(default_factory=dict)
    """Seconds after which each role was up, and all engines had the first weights."""
    _learner_sleeps: bool = False
    """While colocated rollout actors have the GPUs."""
    _last_sent: int = -1
    """The newest version that any engine may hold."""
    _connected: dict[str, list[Any]] = field(default_factory=dict)
    _weights: asyncio.Lock = field(default_factory=asyncio.Lock)
    _learner_changes: asyncio.Condition = field(default_factory=asyncio.Condition)
    _learner_loss: LearnerLostError | None = None
    """Found by an actor that was to get weights."""

    @property
    def engines(self) -> list[ActorPool[Any]]:
        """The pools of vLLM engines that this run has."""
        return [pool for pool in (self.rollouts, self.evaluators) if pool]

    @property
    def pools(self) -> dict[str, ActorPool[Any]]:
        """All pools that this run has, by role."""
        engines = {"rollout": self.rollouts, "evaluator": self.evaluators}
        pools = engines | (self.scoring.pools if self.scoring else {})
        return {role: pool for role, pool in pools.items() if pool}

    async def start_learner(self, state: RunState, checkpoint: Path | str | None) -> None:
        """Start the learner, anew if it was lost.

        Args:
            state: where it goes on.
            checkpoint: what it goes on from, a folder or a URL; None for the model as it was given.
        """
        async with self._weights:
            self._connected.clear()
            if self.rollouts and self.config.placement.colocated:
                await self.rollouts.tell("sleep")
            await self.learner.start(learner_spec(self.config, checkpoint))
            self._learner_sleeps = False
            self.step = state.step
            self.version = max(state.version, self._last_sent + 1)
            await self._note_learner(None)

    async def learner_loss(self) -> LearnerLostError:
        """Wait until the learner is found to be gone by something else than a step."""
        async with self._learner_changes:
            await self._learner_changes.wait_for(lambda: self._learner_loss)
        assert self._learner_loss
        return self._learner_loss

    async def _note_learner(self, loss: LearnerLostError | None) -> None:
        async with self._learner_changes:
            self._learner_loss = loss
            self._learner_changes.notify_all()

    async def share_weights(self) -> None:
        """Give rollout actors the weights of a learner that has just started."""
        await self._check_weight_names()
        if self.rollouts:
            await self.publish("rollout")

    async def _check_weight_names(self) -> None:
        """Compare the names that the learner sends with those that an engine expects.

        Raises:
            WeightSyncError: they differ.
        """
        if not self.engines:
            return
        names = await self.learner.weight_names()
        missing, unknown = await self.engines[0].run(
            lambda actor, _: actor.compare_weight_names.remote(names), 0, name="a list of weights"
        )
        if missing or unknown:
            raise WeightSyncError(
                "learner and engine name different weights: the engine expects "
                f"{_some(missing)} that the learner does not send; the learner sends "
                f"{_some(unknown)} that the engine has no place for; both must be built from the "
                "same model folder"
            )

    async def advance(self, rollouts: Sequence[RolloutGroup], clips: Sequence[Any]) -> Advance:
        """Take one optimizer step on some groups and publish the new weights to rollout actors."""
        async with self._weights:
            started = time.monotonic()
            if self.rollouts and self.config.placement.colocated:
                await self.rollouts.tell("sleep")
                await self._wake_learner()
            metrics = await self.learner.step(self.step, rollouts, clips)
            learned = time.monotonic()
            sent = NOTHING_SENT
            if self.rollouts:
                sent = await self._send("rollout", self.rollouts, self.version + 1)
            self.step += 1
            self.version += 1
            return Advance(metrics, sent, learned - started, time.monotonic() - learned)

    async def publish(self, role: str) -> None:
        """Send the current weights to all actors of a role under the current version.

        Afterwards every one that is given work serves that version, or the call raised.
        """
        pool = self.rollouts if role == "rollout" else self.evaluators
        assert pool is not None
        if role == "evaluator":  # one that came later could only be given later weights
            await pool.wait_for_any()
        async with self._weights, self._learner_at_hand():
            await self._send(role, pool, self.version)

    async def save(self, place: Path | str) -> dict[str, Listed] | None:
        """Write the learner's part of a checkpoint; see `LearnerGroup.save`."""
        async with self._weights, self._learner_at_hand():
            return await self.learner.save(place)

    @asynccontextmanager
    async def _learner_at_hand(self) -> AsyncIterator[None]:
        """For what a learner that sleeps must be woken for, beside rollouts that are under way."""
        is_asleep = self._learner_sleeps
        if is_asleep:
            await self._wake_learner()
        yield
        if is_asleep:
            await self._send_learner_to_sleep()

    async def _wake_learner(self) -> None:
        await self.learner.wake()
        self._learner_sleeps = False

    async def _send_learner_to_sleep(self) -> None:
        await self.learner.sleep()
        self._learner_sleeps = True

    async def _send(self, role: str, pool: ActorPool[Any], version: int) -> Sent:
        if role == "evaluator" or not self.config.placement.colocated:
            return await self._transfer(role, pool, version)
        await pool.tell("wake", "weights")
        sent = await self._transfer(role, pool, version)
        await self._send_learner_to_sleep()
        await pool.tell("wake", "kv_cache")
        return sent

    async def _transfer(self, role: str, pool: ActorPool[Any], version: int) -> Sent:
        handles = pool.handles
        if not handles:  # all are being replaced, and get the weights then
            self._connected[role] = []
            return NOTHING_SENT
        self._last_sent = self.given[role] = version
        try:
            if self._connected.get(role) != handles:
                await self._connect(role, role, handles)
            sent = await self.learner.publish(role, version)
        except LearnerLostError as error:
            if transfer_backend(self.config, role) == "nccl":
                for handle in handles:  # each may wait for the others in there for ever
                    pool.lose(handle, f"left in a collective: {error}")
            raise
        for position, cause in sent.lost.items():
            pool.lose(handles[position], cause)
        return sent

    async def restore(self, role: str, handle: Any) -> None:
        """Give one fresh actor what the others of its role were given last.

        Evaluators may still be answering under weights that the learner has left behind. If the
        learner is lost too, as with a node, its successor is waited for (`learner_loss`).
        """
        while True:
            async with self._weights:  # never between a step and its publication
                try:
                    async with self._learner_at_hand():
                        return await self._restore(role, handle)
                except LearnerLostError as error:
                    await self._note_learner(error)
            async with self._learner_changes:
                await self._learner_changes.wait_for(lambda: not self._learner_loss)

    async def _restore(self, role: str, handle: Any) -> None:
        if role not in self._connected:  # the first transfer is still to come, for this one too
            return
        keeps_what_it_sent = transfer_backend(self.config, role) == "cpu"
        if not keeps_what_it_sent or not self._connected[role]:
            await self._connect(f"{role}-restored", role, [handle])
            sent = await self.learner.publish(f"{role}-restored", self.version)
        else:
            sent = await self.learner.resend(role, handle)
        if sent.lost:
            raise ActorError(f"a fresh {role} actor was lost at once: {sent.lost[0]}")

    async def _connect(self, destination: str, role: str, handles: list[Any]) -> None:
        placement: RolePlacement = getattr(self.config.placement, role)
        await self.learner.connect(
            destination,
            transfer_backend(self.config, role),
            handles,
            len(handles) * max(1, placement.gpus),
            self.config.faults.hang_s,
        )
        self._connected[destination] = handles

    async def close(self) -> None:
        """End all actors."""
        for pool in self.pools.values():
            await pool.close()
        self.learner.close()


def _some(names: list[str], shown: int = 5) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return (", ".join(names[:shown]) or "nothing") + more
