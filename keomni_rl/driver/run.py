"""Everything a running training has, in one object: the actors' handles and how they are wired.

The only file that knows the topology. Engines start in parallel; the learner sends its weights to
all others before the first prompt.
"""

import asyncio
import time
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
from keomni_rl.config.schema import RolePlacement, RunConfig
from keomni_rl.engines.specs import EngineSpec, LearnerSpec, ReferenceSpec
from keomni_rl.errors import WeightSyncError
from keomni_rl.observe.sinks import write_event
from keomni_rl.types import Group, Prediction


@dataclass(eq=False)
class Run:
    """Handles of all actors of one run."""

    config: RunConfig
    id: str
    """Unlike that of any other start, this one's resumption included."""
    learner: LearnerGroup
    rollouts: ActorPool[Group]
    evaluators: ActorPool[Prediction] | None
    audio: Any
    reward: Any
    reference: Any | None
    version: int = 0
    """Of the weights that rollout actors hold."""
    _connected: dict[str, list[Any]] = field(default_factory=dict)

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
        run = cls(
            config=config,
            id=f"{config.run_dir.name}-{time.time_ns():x}",
            learner=LearnerGroup(place.learner, config.algo),
            rollouts=ActorPool(
                lambda: start_actor(
                    RolloutActor, place.rollout, _engine(config, "rollout", backend)
                ),
                place.rollout.actors,
                restore=lambda handle: run.restore("rollout", handle),
                on_loss=lambda cause: write_event(
                    config.run_dir, "rollout actor lost", cause=cause, version=run.version
                ),
            ),
            evaluators=ActorPool(
                lambda: start_actor(
                    EvaluatorActor, place.evaluator, _engine(config, "evaluator", backend)
                ),
                place.evaluator.actors,
                restore=lambda handle: run.restore("evaluator", handle),
                on_loss=lambda cause: write_event(
                    config.run_dir, "evaluator actor lost", cause=cause
                ),
            )
            if config.evaluation
            else None,
            audio=start_helper(AudioActor, max_audio_s=config.data.max_audio_s),
            reward=start_helper(
                RewardActor,
                config.reward.weights,
                think=config.data.think,
                think_max_words=config.data.think_max_words,
            ),
            reference=start_actor(ReferenceActor, place.reference, _reference(config))
            if config.algo.beta > 0
            else None,
            version=step,
        )
        waits = [run.learner.start(_learner(config, checkpoint)), run.rollouts.wait_ready()]
        if run.evaluators:
            waits.append(run.evaluators.wait_ready())
        if run.reference:
            waits.append(run.reference.ready.remote())
        await asyncio.gather(*waits)
        await run.check_weight_names()
        await run.publish("rollout", step)
        return run

    async def check_weight_names(self) -> None:
        """Compare the names that the learner sends with those that an engine expects.

        Raises:
            WeightSyncError: they differ.
        """
        names = await self.learner.weight_names()
        missing, unknown = await self.rollouts.handles[0].compare_weight_names.remote(names)
        if missing or unknown:
            raise WeightSyncError(
                "learner and engine name different weights: the engine expects "
                f"{_some(missing)} that the learner does not send; the learner sends "
                f"{_some(unknown)} that the engine has no place for; both must be built from the "
                "same model folder"
            )

    async def publish(self, role: str, version: int) -> int:
        """Send the learner's weights to all actors of a role under ``version``; returns bytes.

        Afterwards every one that is given work serves that version, or the call raised.
        """
        pool = self.rollouts if role == "rollout" else self.evaluators
        assert pool is not None
        handles = pool.handles
        if self._connected.get(role) != handles:
            await self._connect(role, handles)
        num_bytes = await self.learner.publish(role, version)
        if role == "rollout":
            self.version = version
        return num_bytes

    async def restore(self, role: str, handle: Any) -> None:
        """Give one fresh actor the current weights, before its first prompt."""
        await self._connect(f"{role}-restored", [handle])
        sent = -1
        while sent != self.version:  # the others may move on meanwhile
            sent = self.version
            await self.learner.publish(f"{role}-restored", sent)

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
        await self.rollouts.close()
        if self.evaluators:
            await self.evaluators.close()


def choose_backend(config: RunConfig) -> str:
    """VLLM's weight-transfer backend for what the actors have."""
    return "nccl" if config.placement.rollout.gpus and config.placement.learner.gpus else "cpu"


def _engine(config: RunConfig, role: str, backend: str) -> EngineSpec:
    placement: RolePlacement = getattr(config.placement, role)
    return EngineSpec(
        model=config.model.path,
        dtype=config.model.dtype,
        awaits_weights=True,
        max_model_len=config.rollout.max_model_len,
        max_num_seqs=config.rollout.max_num_seqs,
        tensor_parallel=placement.gpus,
        gpu_memory_utilization=config.rollout.gpu_memory_utilization,
        kv_cache_gib=config.rollout.kv_cache_gib,
        num_threads=placement.num_threads,
        backend=backend,
    )


def _learner(config: RunConfig, checkpoint: Path | None) -> LearnerSpec:
    return LearnerSpec(
        model=config.model.path,
        dtype=config.model.dtype,
        learner=config.learner,
        algo=config.algo,
        max_steps=config.train.max_steps,
        temperature=config.rollout.temperature,
        world_size=config.placement.learner.actors,
        on_gpu=config.placement.learner.gpus > 0,
        num_threads=config.placement.learner.num_threads,
        checkpoint=checkpoint,
    )


def _reference(config: RunConfig) -> ReferenceSpec:
    return ReferenceSpec(
        model=config.model.path,
        dtype=config.model.dtype,
        temperature=config.rollout.temperature,
        on_gpu=config.placement.reference.gpus > 0,
        num_threads=config.placement.reference.num_threads,
    )


def _some(names: list[str], shown: int = 5) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return (", ".join(names[:shown]) or "nothing") + more
