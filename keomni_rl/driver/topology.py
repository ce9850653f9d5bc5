"""Starts every actor of a run and wires them; the only file that knows which roles there are."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from keomni_rl.actors.audio import start_audio
from keomni_rl.actors.batching import MAX_PIECES
from keomni_rl.actors.engine_actor import EvaluatorActor, RolloutActor
from keomni_rl.actors.learner import LearnerActor
from keomni_rl.actors.learner_group import LearnerGroup
from keomni_rl.actors.placement import Room
from keomni_rl.actors.pool import ActorPool
from keomni_rl.actors.reference import ReferenceActor
from keomni_rl.actors.remote import start_helper
from keomni_rl.actors.reward import RewardActor
from keomni_rl.actors.writer import WriterActor
from keomni_rl.config.placement import HelperPlacement
from keomni_rl.config.schema import RunConfig
from keomni_rl.driver.answering import SLOW_S
from keomni_rl.driver.run import Run
from keomni_rl.driver.scoring import Scoring
from keomni_rl.driver.specs import reference_spec, run_engine_spec
from keomni_rl.models.family import find_family
from keomni_rl.models.hub import local_model
from keomni_rl.observe.sinks import write_event
from keomni_rl.storage.manifest import RunState


async def start_run(config: RunConfig, state: RunState, checkpoint: Path | str | None) -> Run:
    """Start every actor, all at once, and give rollout actors the learner's weights.

    Args:
        config: of the run.
        state: where it begins.
        checkpoint: what the learner goes on from, a folder or a URL.

    Raises:
        ConfigError: the cluster can never hold them.
    """
    place = config.placement
    room = Room(place, roles(config))
    await room.reserve(config.folder)

    def pool(role: str, start: Callable[[int], Any], **more: Any) -> ActorPool[Any]:
        has_weights = role in ("rollout", "evaluator")
        return ActorPool(
            start,
            getattr(place, role).actors,
            restore=(lambda handle: run.restore(role, handle)) if has_weights else None,
            on_join=lambda: _event(config, f"{role} actor joined", version=run.given.get(role)),
            on_loss=lambda cause: _event(
                config, f"{role} actor lost", cause=cause, version=run.version
            ),
            on_replaced=lambda: _event(
                config, f"{role} actor replaced", version=run.given.get(role)
            ),
            **({"hang_s": config.faults.hang_s} | more),
        )

    rollouts = writer = evaluators = scoring = None
    if config.algo.kind == "grpo":
        spec = run_engine_spec(config, "rollout")
        start = room.starter("rollout", RolloutActor, spec, config.folder.name)
        rollouts = pool("rollout", start, extra=place.rollout.num_extra)
        hang_s = max(config.faults.hang_s, _longest_rewards_s(config))
        rewards = pool("reward", _reward_starter(room, config), hang_s=hang_s)
        references = None
        if config.algo.beta > 0:
            start = room.starter("reference", ReferenceActor, reference_spec(config))
            references = pool("reference", start)
        scoring = Scoring(rewards, references)
    else:
        writer = start_helper(WriterActor, HelperPlacement(), config.model)
    if config.evaluation:
        spec = run_engine_spec(config, "evaluator")
        start = room.starter("evaluator", EvaluatorActor, spec, config.folder.name)
        evaluators = pool("evaluator", start, slow_s=SLOW_S)
    run = Run(
        config=config,
        id=f"{config.folder.name}-{time.time_ns():x}",
        learner=LearnerGroup(
            room.starter("learner", LearnerActor), place.learner.actors, config.algo
        ),
        rollouts=rollouts,
        writer=writer,
        evaluators=evaluators,
        audio=start_audio(
            place.audio,
            max_audio_s=config.data.max_audio_s,
            window_s=find_family(
                local_model(config.model.path, config.model.revision)
            ).longest_clip_s,
        ),
        scoring=scoring,
    )
    began = time.monotonic()

    async def noted(role: str, start: Awaitable[None]) -> None:
        await start
        run.ready_s[role] = round(time.monotonic() - began, 2)

    starts = [noted(role, pool.wait_ready()) for role, pool in run.pools.items()]
    if place.colocated:  # engines first: they look how much of their GPU is free
        await asyncio.gather(*starts)
        starts = []
    await asyncio.gather(noted("learner", run.start_learner(state, checkpoint)), *starts)
    await noted("weights", run.share_weights())
    if rollouts:
        rollouts.let_join()
    return run


def roles(config: RunConfig) -> list[str]:
    """Parts of the placement that this run uses, those that hold GPUs first."""
    is_used = {
        "learner": True,
        "rollout": config.algo.kind == "grpo",
        "reference": config.algo.beta > 0,
        "evaluator": config.evaluation is not None,
        "reward": config.algo.kind == "grpo",
    }
    return [role for role, used in is_used.items() if used]


def _event(config: RunConfig, name: str, **details: Any) -> None:
    write_event(config.folder, name, **details)


def _longest_rewards_s(config: RunConfig) -> float:
    """For which the rewards of one call may take, with every call of the user's own tried twice."""
    num_own = sum(":" in name for name in config.reward.weights)
    return 3 * config.reward.timeout_s * config.rollout.group_size * num_own * MAX_PIECES


def _reward_starter(room: Room, config: RunConfig) -> Callable[[int], Any]:
    return room.starter(
        "reward",
        RewardActor,
        config.reward.weights,
        think=config.prompt.thinks,
        think_max_words=config.prompt.think_max_words,
        timeout_s=config.reward.timeout_s,
        compat=config.reward.compat,
        math_verify=config.reward.math_verify,
        folder=Path.cwd(),
    )
