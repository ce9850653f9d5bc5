"""Tokens a second through audio actor, pool, rollout actor and driver, against vLLM alone."""

import asyncio
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.bare import BareVllm
from benchmarks.result import compared
from benchmarks.training import words

GOAL = 0.97
NUM_GROUPS = 16


def rollout(repetitions: int) -> dict[str, Any]:
    """Groups of 8 completions of 64 tokens on clips of 10 s: ours against ``LLM.generate``.

    Both decode the clips, use the same engine settings, seeds and both cores, in turn; ours also
    computes rewards and advantages. Every repetition has clips of its own.
    """
    import ray

    from keomni_rl.actors.remote import join_ray

    with tempfile.TemporaryDirectory() as folder:
        join_ray(None)
        try:
            ours, theirs = asyncio.run(_both(Path(folder), repetitions + 1))
        finally:
            ray.shutdown()
    return compared("rollout", "bare LLM.generate", "tokens/s", GOAL, ours, theirs)


async def _both(root: Path, rounds: int) -> tuple[list[float], list[float]]:
    from keomni_rl.actors.remote import start_actor
    from keomni_rl.config import RunConfig, load_config
    from keomni_rl.data.prompts import make_prompt
    from keomni_rl.data.stream import PromptStream
    from keomni_rl.driver.journey import travel
    from keomni_rl.driver.settle import settle
    from keomni_rl.driver.topology import start_run
    from keomni_rl.storage.manifest import RunState

    config = settle(load_config(RunConfig, words(root, root / "run", "algo.beta=0")))
    config.folder.mkdir()
    run = await start_run(config, RunState(), None)
    bare = start_actor(
        Bare,
        config.placement.rollout,
        config,
        logprobs_mode="processed_logprobs",
        ray_options={},
    )
    await bare.ready.remote()
    stream = PromptStream(
        config.data.train, lambda question, _: make_prompt(question, config.prompt), seed=0
    )
    ours, theirs = [], []
    for number in range(rounds):
        positions = range(number * NUM_GROUPS, (number + 1) * NUM_GROUPS)
        prompts = [stream[position] for position in positions]
        started = time.monotonic()
        arrived = await asyncio.gather(*(travel(run, stream, position) for position in positions))
        taken = time.monotonic() - started
        tokens = sum(len(c.token_ids) for a in arrived for c in a.rollout.group.completions)
        ours.append(tokens / taken)
        theirs.append(await bare.run.remote(prompts, number))
    await run.close()
    return ours[1:], theirs[1:]


class Bare(BareVllm):
    """Samples groups."""

    def run(self, prompts: Sequence[Any], number: int) -> float:
        """Tokens a second over all groups."""
        from vllm import SamplingParams

        started = time.monotonic()
        rollout = self.config.rollout
        forbidden = dict.fromkeys(self.family.forbidden_tokens(self.processor), -100.0)
        sampling = [
            SamplingParams(
                n=rollout.group_size,
                temperature=rollout.temperature,
                max_tokens=rollout.max_new_tokens,
                seed=1000 * number + index,
                logprobs=0,
                logit_bias=forbidden,
            )
            for index in range(len(prompts))
        ]
        answers = self.llm.generate(self.requests(prompts), sampling, use_tqdm=False)
        tokens = sum(len(output.token_ids) for answer in answers for output in answer.outputs)
        return tokens / (time.monotonic() - started)
