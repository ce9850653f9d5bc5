"""Everything a running training has, in one object: the actors' handles and how they are wired.

The only file that knows the topology. Engines start in parallel; the learner sends its weights to
all others before the first prompt.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from keomni_rl.actors.audio import AudioActor
from keomni_rl.actors.engine_actor import EvaluatorActor, RolloutActor
from keomni_rl.actors.learner_group import LearnerGroup
from keomni_rl.actors.pool import ActorPool
from keomni_rl.actors.reference import ReferenceActor
from keomni_rl.actors.remote import start_actor, start_helper
from keomni_rl.actors.reward import RewardActor
from keomni_rl.actors.writer import WriterActor
from keomni_rl.config.schema import RolePlacement, RunConfig
from keomni_rl.engines.specs import LearnerSpec, ReferenceSpec, engine_spec
from keomni_rl.errors import WeightSyncError
from keomni_rl.models.family import find_family
from keomni_rl.models.hub import local_model
from keomni_rl.observe.sinks import write_event
from keomni_rl.types import Group, Prediction, RolloutGroup


@dataclass(frozen=True, slots=True)
class Advance:
    """What one step came to."""

    metrics: dict[str, float]
    num_bytes: int
    """Published to each rollout actor."""
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
    audio: Any
    reward: Any | None
    reference: Any | None
    version: int = 0
    """Of the learner's weights, which rollout actors hold too: optimizer steps done."""
    _connected: dict[str, list[Any]] = field(default_factory=dict)
    _weights: asyncio.Lock = field(default_factory=asyncio.Lock)

    @classmethod
    async def start(cls, config: RunConfig, *, step: int, checkpoint: Path | None) -> "Run":
        """Start every actor and give all engines the learner's weights.

        Args:
            config: of the run.
            step: optimizer steps done before.
            checkpoint: what the learner goes on from.
        """
        place = config.placement
        backend = choose_backend(config)
        is_grpo = config.algo.kind == "grpo"

        def pool(role: str, actor_class: type) -> ActorPool[Any]:
            of_role: RolePlacement = getattr(place, role)
            return ActorPool(
                lambda: start_actor(
                    actor_class,
                    of_role,
                    engine_spec(
                        config.model, config.engine, of_role, backend=backend, awaits_weights=True
                    ),
                ),
                of_role.actors,
                restore=lambda handle: run.restore(role, handle),
                on_loss=lambda cause: write_event(
                    config.run_dir, f"{role} actor lost", cause=cause, version=run.version
                ),
            )

        run = cls(
            config=config,
            id=f"{config.run_dir.name}-{time.time_ns():x}",
            learner=LearnerGroup(place.learner, config.algo),
            rollouts=pool("rollout", RolloutActor) if is_grpo else None,
            writer=None if is_grpo else start_helper(WriterActor, config.model),
            evaluators=pool("evaluator", EvaluatorActor) if config.evaluation else None,
            audio=start_helper(
                AudioActor,
                max_audio_s=config.data.max_audio_s,
                window_s=find_family(
                    local_model(config.model.path, config.model.revision)
                ).longest_clip_s,
            ),
            reward=start_helper(
                RewardActor,
                config.reward.weights,
                think=config.prompt.thinks,
                think_max_words=config.prompt.think_max_words,
                compat=config.reward.compat,
                math_verify=config.reward.math_verify,
                folder=Path.cwd(),
            )
            if is_grpo
            else None,
            reference=start_actor(ReferenceActor, place.reference, _reference(config))
            if config.algo.beta > 0
            else None,
            version=step,
        )
        waits = [run.learner.start(_learner(config, checkpoint))]
        waits += [pool.wait_ready() for pool in run.pools]
        if run.reference:
            waits.append(run.reference.ready.remote())
        await asyncio.gather(*waits)
        await run.check_weight_names()
        if run.rollouts:
            await run.publish("rollout")
        return run

    @property
    def pools(self) -> list[ActorPool[Any]]:
        """The pools of engines that this run has."""
        return [pool for pool in (self.rollouts, self.evaluators) if pool]

    async def check_weight_names(self) -> None:
        """Compare the names that the learner sends with those that an engine expects.

        Raises:
            WeightSyncError: they differ.
        """
        if not self.pools:
            return
        names = await self.learner.weight_names()
        missing, unknown = await self.pools[0].handles[0].compare_weight_names.remote(names)
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
            metrics = await self.learner.step(self.version, rollouts, clips)
            learned = time.monotonic()
            num_bytes = 0
            if self.rollouts:
                num_bytes = await self._send("rollout", self.rollouts.handles, self.version + 1)
            self.version += 1
            return Advance(metrics, num_bytes, learned - started, time.monotonic() - learned)

    async def publish(self, role: str) -> None:
        """Send the current weights to all actors of a role under the current version.

        Afterwards every one that is given work serves that version, or the call raised.
        """
        pool = self.rollouts if role == "rollout" else self.evaluators
        assert pool is not None
        async with self._weights:
            await self._send(role, pool.handles, self.version)

    async def restore(self, role: str, handle: Any) -> None:
        """Give one fresh actor the current weights, before its first prompt."""
        async with self._weights:  # never between a step and its publication
            await self._send(f"{role}-restored", [handle], self.version)

    async def _send(self, destination: str, handles: list[Any], version: int) -> int:
        if self._connected.get(destination) != handles:
            await self._connect(destination, handles)
        return await self.learner.publish(destination, version)

    async def _connect(self, destination: str, handles: list[Any]) -> None:
        placement: RolePlacement = getattr(
            self.config.placement, destination.removesuffix("-restored")
        )
        await self.learner.connect(
            destination,
            choose_backend(self.config),
            handles,
            len(handles) * max(1, placement.gpus),
        )
        self._connected[destination] = handles

    async def close(self) -> None:
        """End all engines; Ray ends the actors."""
        for pool in self.pools:
            await pool.close()


def choose_backend(config: RunConfig) -> str:
    """VLLM's weight-transfer backend for what the actors have."""
    return "nccl" if config.placement.rollout.gpus and config.placement.learner.gpus else "cpu"


def _learner(config: RunConfig, checkpoint: Path | None) -> LearnerSpec:
    return LearnerSpec(
        model=config.model.path,
        revision=config.model.revision,
        dtype=config.model.dtype,
        learner=config.learner,
        algo=config.algo,
        max_steps=config.train.max_steps,
        seed=config.train.seed,
        temperature=config.rollout.temperature,
        world_size=config.placement.learner.actors,
        on_gpu=config.placement.learner.gpus > 0,
        num_threads=config.placement.learner.num_threads,
        checkpoint=checkpoint,
    )


def _reference(config: RunConfig) -> ReferenceSpec:
    return ReferenceSpec(
        model=config.model.path,
        revision=config.model.revision,
        dtype=config.model.dtype,
        temperature=config.rollout.temperature,
        on_gpu=config.placement.reference.gpus > 0,
        num_threads=config.placement.reference.num_threads,
    )


def _some(names: list[str], shown: int = 5) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return (", ".join(names[:shown]) or "nothing") + more
