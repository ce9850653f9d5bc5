"""Measures how fast each role of a running training works, with its own actors."""

import asyncio
import dataclasses
import itertools
import time
from collections import defaultdict
from collections.abc import Awaitable
from typing import Any

import numpy as np

from keomni_rl.data.stream import PromptStream
from keomni_rl.driver.journey import Arrived, travel
from keomni_rl.driver.run import Run
from keomni_rl.engines.specs import Sampling
from keomni_rl.planning.balance import unit
from keomni_rl.planning.rates import Machine, Rate, Rates
from keomni_rl.planning.shape import model_shape
from keomni_rl.types import Group, GroupKey

LINES = ("prefill", "decode", "reference", "learner", "transfer", "audio", "reward")


class Stopwatch:
    """Collects (amount, seconds) of each role over several rounds.

    Args:
        run: a training whose actors are up and have nothing else to do.
        stream: of its prompts.
    """

    def __init__(self, run: Run, stream: PromptStream) -> None:
        self._run = run
        self._stream = stream
        self._keys = itertools.count(10**6)  # of work that the training itself never has
        self._points: dict[str, list[tuple[float, float]]] = defaultdict(list)
        self._prompt_tokens: list[int] = []
        self._completion_tokens: list[int] = []

    async def measure(self) -> None:
        """One round of everything."""
        groups_per_step = self._run.config.train.groups_per_step
        for number in (max(1, groups_per_step // 4), groups_per_step):
            await self._sampling(number)
        arrived = [await self._travel() for _ in range(groups_per_step)]
        for one in arrived[:4]:
            await self._scoring(one)
        for share in (max(1, groups_per_step // 2), groups_per_step):
            await self._learning(arrived[:share])

    async def _sampling(self, number: int) -> None:
        """Some groups on one engine: first a token of each completion, then whole ones."""
        await self._publishing()
        prompts = [self._stream[next(self._keys)] for _ in range(number)]
        started = time.monotonic()
        loaded = (self._run.audio.load(prompt.question.audio) for prompt in prompts)
        clips = [clip for clip, _ in await asyncio.gather(*loaded)]
        self._add("audio", 1, (time.monotonic() - started) / number)
        limit = self._run.config.rollout.max_new_tokens
        first_s, groups = await self._sampled(prompts, clips, 1)
        tokens = float(np.mean([len(group.prompt_ids) for group in groups]))
        self._add("prefill", tokens, first_s / number)
        await self._publishing()
        whole_s, groups = await self._sampled(prompts, clips, limit)
        lengths = [len(c.token_ids) for group in groups for c in group.completions]
        self._prompt_tokens += [len(group.prompt_ids) for group in groups]
        self._completion_tokens += lengths
        steps = max(lengths)
        if steps > 1 and whole_s > first_s:
            self._add("decode", sum(lengths) / steps, (whole_s - first_s) / (steps - 1))

    async def _publishing(self) -> None:
        """It also empties the engines' caches, so that no prompt is known before."""
        started = time.monotonic()
        sent = await self._run.learner.publish("rollout", self._run.version)
        self._add("transfer", sent.num_bytes, time.monotonic() - started)

    async def _sampled(
        self, prompts: list[Any], clips: list[Any], max_new_tokens: int
    ) -> tuple[float, list[Group]]:
        config = self._run.config
        engine = self._run.rollouts.handles[0]
        started = time.monotonic()
        groups = await asyncio.gather(
            *(
                _answer(
                    engine.generate.remote(
                        GroupKey(self._run.id, index := next(self._keys)),
                        prompt,
                        clip,
                        Sampling(
                            num_completions=config.rollout.group_size,
                            max_new_tokens=max_new_tokens,
                            temperature=config.rollout.temperature,
                            seed=index,
                        ),
                    )
                )
                for prompt, clip in zip(prompts, clips, strict=True)
            )
        )
        return time.monotonic() - started, groups

    async def _travel(self) -> Arrived:
        return await travel(self._run, self._stream, next(self._keys))

    async def _scoring(self, arrived: Arrived) -> None:
        group, scoring = arrived.rollout.group, self._run.scoring
        await self._timed("reward", 1, scoring.rewards(group))
        if self._run.config.algo.beta == 0:
            return
        for part in (group, dataclasses.replace(group, completions=group.completions[:1])):
            tokens = len(part.prompt_ids) + sum(len(c.token_ids) for c in part.completions)
            await self._timed("reference", tokens, scoring.ref_logprobs(part, arrived.clip))

    async def _learning(self, arrived: list[Arrived]) -> None:
        rollouts = [one.rollout for one in arrived]
        ranks = self._run.config.placement.learner.actors
        tokens = sum(rollout.num_tokens for rollout in rollouts) / ranks
        step = self._run.learner.step(self._run.step, rollouts, [one.clip for one in arrived])
        await self._timed("learner", tokens, step)

    async def _timed(self, name: str, amount: float, work: Awaitable[Any]) -> None:
        started = time.monotonic()
        await work
        self._add(name, amount, time.monotonic() - started)

    def _add(self, name: str, amount: float, seconds: float) -> None:
        self._points[name].append((amount, seconds))

    def rates(self) -> Rates:
        """The lines through all that was measured."""
        config = self._run.config
        lines = {
            name: Rate.through(*map(list, zip(*self._points[name], strict=True)))
            for name in LINES
            if self._points[name]
        }
        lines.setdefault("reference", Rate(fixed_s=0, per_s=1e12))  # there is none
        return Rates(
            model=model_shape(config.model.path, config.learner).digest,
            dtype=config.model.dtype,
            machine=Machine.here(),
            units={
                role: unit(getattr(config.placement, role))
                for role in ("rollout", "learner", "reference")
            },
            prompt_tokens=float(np.mean(self._prompt_tokens)),
            completion_tokens=float(np.mean(self._completion_tokens)),
            completion_std=float(np.std(self._completion_tokens)),
            **lines,
        )

    def forget(self) -> None:
        """Begin anew."""
        self._points.clear()
        self._prompt_tokens.clear()
        self._completion_tokens.clear()


async def _answer(call: Any) -> Any:
    return await call
