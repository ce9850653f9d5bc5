"""Starts every actor of a run and wires them; the only file that knows which roles there are."""

import asyncio
import time
from collections.abc import Callable
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
from keomni_rl.driver.answering import SLOW_S
from keomni_rl.driver.run import Run
from keomni_rl.driver.specs import reference_spec, run_engine_spec
from keomni_rl.models.family import find_family
from keomni_rl.models.hub import local_model
from keomni_rl.observe.sinks import write_event
from keomni_rl.storage.manifest import RunState

ON_ANY_NODE = RolePlacement(actors=1, gpus=0, cpus=0)


async def start_run(config: RunConfig, state: RunState, checkpoint: Path | str | None) -> Run:
    """Start every actor, all at once, and give rollout actors the learner's weights.

    Args:
        config: of the run.
        state: where it begins.
        checkpoint: what the learner goes on from, a folder or a URL.
    """
    place = config.placement
    is_grpo = config.algo.kind == "grpo"

    def pool(
        role: str,
        placement: RolePlacement,
        start: Callable[[], Any],
        slow_s: float | None = None,
        longest_s: float = 0.0,
    ) -> ActorPool[Any]:
        has_weights = role in ("rollout", "evaluator")
        return ActorPool(
            start,
            placement.actors,
            restore=(lambda handle: run.restore(role, handle)) if has_weights else None,
            on_loss=lambda cause: write_event(
                config.folder, f"{role} actor lost", cause=cause, version=run.version
            ),
            hang_s=max(config.faults.hang_s, longest_s),
            slow_s=slow_s,
        )

    rollouts = writer = evaluators = rewards = references = None
    if is_grpo:
        rollouts = pool(
            "rollout",
            place.rollout,
            lambda: start_actor(RolloutActor, place.rollout, run_engine_spec(config, "rollout")),
        )
        rewards = pool(
            "reward",
            ON_ANY_NODE,
            lambda: _start_reward(config),
            longest_s=_longest_reward_s(config),
        )
    else:
        writer = start_helper(WriterActor, config.model)
    if config.evaluation:
        evaluators = pool(
            "evaluator",
            place.evaluator,
            lambda: start_actor(
                EvaluatorActor, place.evaluator, run_engine_spec(config, "evaluator")
            ),
            slow_s=SLOW_S,
        )
    if config.algo.beta > 0:
        references = pool(
            "reference",
            place.reference,
            lambda: start_actor(ReferenceActor, place.reference, reference_spec(config)),
        )
    run = Run(
        config=config,
        id=f"{config.folder.name}-{time.time_ns():x}",
        learner=LearnerGroup(place.learner, config.algo),
        rollouts=rollouts,
        writer=writer,
        evaluators=evaluators,
        audio=start_helper(
            AudioActor,
            max_audio_s=config.data.max_audio_s,
            window_s=find_family(
                local_model(config.model.path, config.model.revision)
            ).longest_clip_s,
        ),
        rewards=rewards,
        references=references,
    )
    await asyncio.gather(
        run.start_learner(state, checkpoint), *(pool.wait_ready() for pool in run.pools)
    )
    await run.share_weights()
    return run


def _longest_reward_s(config: RunConfig) -> float:
    """For which one group's reward may take, with every call of the user's own tried twice."""
    num_own = sum(":" in name for name in config.reward.weights)
    return 3 * config.reward.timeout_s * config.rollout.group_size * num_own


def _start_reward(config: RunConfig) -> Any:
    return start_actor(
        RewardActor,
        ON_ANY_NODE,
        config.reward.weights,
        think=config.prompt.thinks,
        think_max_words=config.prompt.think_max_words,
        timeout_s=config.reward.timeout_s,
        compat=config.reward.compat,
        math_verify=config.reward.math_verify,
        folder=Path.cwd(),
    )
