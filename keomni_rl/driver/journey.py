"""One group's way from prompt to advantages: sampled, scored, compared with its siblings.

In supervised training the way is shorter: the completions are written, and each is as good as can
be, which is an advantage of 1.
"""

import asyncio
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from keomni_rl.algorithms.advantage import group_advantages
from keomni_rl.data.stream import PromptStream
from keomni_rl.driver.run import Run
from keomni_rl.engines.specs import Sampling
from keomni_rl.types import GroupKey, Prompt, RolloutGroup


@dataclass(frozen=True, slots=True)
class Arrived:
    """A group that is ready to be trained on."""

    rollout: RolloutGroup
    clip: Any
    """Reference to its `Clip`; the bytes stay where they were decoded."""
    seconds: dict[str, float]
    """Time of each stage."""


async def travel(run: Run, stream: PromptStream, index: int) -> Arrived:
    """Take the prompt at a position of the stream to where it can be trained on.

    Consumes: nothing but its arguments. Waits for: a rollout actor, then reward and reference at
    the same time; or for the writer. Unblocked by: their answers.
    """
    prompt = stream[index]
    clip, num_audio_tokens = await run.audio.load(prompt.question.audio)
    if run.rollouts is None:
        return await _written(run, index, prompt, clip)
    return await _sampled(run, index, prompt, clip, num_audio_tokens)


async def _sampled(
    run: Run, index: int, prompt: Prompt, clip: Any, num_audio_tokens: int
) -> Arrived:
    config = run.config
    assert run.rollouts is not None
    sampling = Sampling(
        num_completions=config.rollout.group_size,
        max_new_tokens=config.rollout.max_new_tokens,
        temperature=config.rollout.temperature,
        seed=(config.train.seed * 1_000_003 + index) % 2**31,
    )
    start = time.monotonic()
    group = await run.rollouts.run(
        lambda actor, attempt: actor.generate.remote(
            GroupKey(run.id, index, attempt), prompt, clip, sampling
        ),
        cost=num_audio_tokens + config.rollout.group_size * config.rollout.max_new_tokens,
        name=f"group {index} (question {prompt.id!r})",
    )
    sampled = time.monotonic()
    assert run.scoring is not None
    rewards, ref_logprobs = await asyncio.gather(
        run.scoring.rewards(group), run.scoring.ref_logprobs(group, clip)
    )
    scored = time.monotonic()
    advantages = group_advantages(
        [reward.total for reward in rewards],
        divide_by_std=config.algo.divide_by_std,
        eps=config.algo.std_eps,
    )
    return Arrived(
        rollout=RolloutGroup(
            group=group, rewards=rewards, advantages=advantages, ref_logprobs=ref_logprobs
        ),
        clip=clip,
        seconds={
            "time/group_rollout_s": sampled - start,
            "time/group_score_s": scored - sampled,
        },
    )


async def _written(run: Run, index: int, prompt: Prompt, clip: Any) -> Arrived:
    assert run.writer is not None
    group = await run.writer.write.remote(GroupKey(run.id, index), prompt, clip)
    advantages = np.ones(len(group.completions), np.float32)
    return Arrived(RolloutGroup(group=group, rewards=(), advantages=advantages), clip, {})
