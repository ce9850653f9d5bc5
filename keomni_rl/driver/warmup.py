"""Supervised warm-up of a model through the learner itself: GRPO whose every advantage is 1.

With ratio 1 and advantage 1 the policy gradient of a given text is that of its log-likelihood, so
supervised learning needs no second trainer, only groups that someone else wrote.
"""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import ray

from keomni_rl.actors.learner_group import LearnerGroup
from keomni_rl.config.schema import AlgoConfig, LearnerConfig, RolePlacement
from keomni_rl.engines.specs import LearnerSpec
from keomni_rl.types import Clip, Completion, FinishReason, Group, GroupKey, Prompt, RolloutGroup

LIKELIHOOD = AlgoConfig(beta=0.0, importance_cap=None)


def written_group(
    index: int, prompt: Prompt, prompt_ids: Sequence[int], answers: Sequence[tuple[str, list[int]]]
) -> RolloutGroup:
    """A group whose completions were written, not sampled.

    Args:
        index: position, for its key.
        prompt: what was asked.
        prompt_ids: its tokens, audio placeholders expanded.
        answers: text and tokens (end of turn included) of each completion.
    """
    completions = tuple(
        Completion(
            token_ids=np.asarray(ids, np.int32),
            rollout_logprobs=np.zeros(len(ids), np.float32),
            text=text,
            finish_reason=FinishReason.STOP,
            policy_version=(0, 0),
        )
        for text, ids in answers
    )
    group = Group(
        key=GroupKey("supervised", index),
        prompt=prompt,
        prompt_ids=np.asarray(prompt_ids, np.int32),
        completions=completions,
    )
    return RolloutGroup(group=group, rewards=(), advantages=np.ones(len(answers), np.float32))


async def supervise(
    model: Path,
    out: Path,
    next_batch: Callable[[], tuple[list[RolloutGroup], list[Clip]]],
    *,
    learner: LearnerConfig,
    placement: RolePlacement,
    num_steps: int,
    on_step: Callable[[int, dict[str, float]], Any],
) -> None:
    """Train on written groups and leave the learner's state in ``out``.

    Args:
        model: folder to start from.
        out: existing folder for the learner's safetensors.
        next_batch: gives the groups of one step with their clips.
        learner: optimizer settings.
        placement: of the learner.
        num_steps: optimizer steps.
        on_step: told of each step's metrics.
    """
    group = LearnerGroup(placement, LIKELIHOOD)
    await group.start(
        LearnerSpec(
            model=model,
            dtype="float32",
            learner=learner,
            algo=LIKELIHOOD,
            max_steps=num_steps,
            temperature=1.0,
            world_size=placement.actors,
            on_gpu=placement.gpus > 0,
            num_threads=placement.num_threads,
        )
    )
    loop = asyncio.get_running_loop()
    for step in range(num_steps):
        rollouts, clips = await loop.run_in_executor(None, next_batch)
        references = [ray.put(clip) for clip in clips]
        on_step(step + 1, await group.step(step, rollouts, references))
    await group.save(out)
    group.stop()
