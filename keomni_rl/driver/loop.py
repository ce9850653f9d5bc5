"""The loop: prompts become groups, groups a step, a step new weights. There is no second one.

A slot is the right to have one group alive; there are (max_staleness + 1) * groups_per_step. A
slot is freed when the weights that its group helped to make are published, and groups are trained
on in the order in which they were started. So no group is ever more than max_staleness versions
old, and max_staleness 0 is synchronous GRPO.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from keomni_rl.algorithms.advantage import has_signal
from keomni_rl.config.schema import RunConfig
from keomni_rl.data.stream import PromptStream
from keomni_rl.driver.checkpoints import RunState, save_checkpoint
from keomni_rl.driver.evaluation import Evaluation
from keomni_rl.driver.group_metrics import group_metrics
from keomni_rl.driver.journey import Arrived, travel
from keomni_rl.driver.run import Run
from keomni_rl.observe.sinks import MetricsWriter, write_event, write_rollouts

log = logging.getLogger(__name__)
OnStep = Callable[[int, Mapping[str, float]], None]


class Loop:
    """One training run from a state to its last step."""

    def __init__(
        self,
        run: Run,
        stream: PromptStream,
        state: RunState,
        writer: MetricsWriter,
        evaluation: Evaluation | None,
        on_step: OnStep,
    ) -> None:
        self._run = run
        self._config: RunConfig = run.config
        self._stream = stream
        self._step = state.step
        self._position = state.position
        """Groups consumed: everything before it is trained on or dropped."""
        self._next = state.position
        self._alive: dict[int, asyncio.Task[Arrived]] = {}
        self._rest_s = 0.0
        self._writer = writer
        self._evaluation = evaluation
        self._on_step = on_step

    async def train(self) -> None:
        """Run to ``train.max_steps``.

        Consumes: the prompt stream. Waits for: groups, the learner, publication, and for an
        evaluation only when the next one is due. Unblocked by: the actors.
        """
        if self._evaluation and self._evaluation.is_due(self._step):
            await self._evaluation.start(self._step)
        self._fill_slots()
        try:
            while self._step < self._config.train.max_steps:
                metrics = await self._one_step()
                if self._evaluation:
                    metrics |= self._evaluation.take_finished()
                # Before the checkpoint: a kill between the two must not leave a gap.
                self._writer.write(self._step, metrics)
                self._on_step(self._step, metrics)
                await self._keep_and_evaluate()
        finally:
            for task in self._alive.values():
                task.cancel()
            await asyncio.gather(*self._alive.values(), return_exceptions=True)
        if self._evaluation:
            await self._evaluation.finish()

    async def _one_step(self) -> dict[str, float]:
        started = time.monotonic()
        arrived, dropped = await self._next_groups()
        collected = time.monotonic()
        rollouts = [a.rollout for a in arrived]
        metrics = group_metrics(
            rollouts,
            policy_version=self._step,
            think_max_words=self._config.prompt.measured_words,
        )
        advance = await self._run.advance(rollouts, [a.clip for a in arrived])
        published = time.monotonic()
        self._step = self._run.version
        if self._step < self._config.train.max_steps:
            self._fill_slots()
        sampled = [rollout for rollout in rollouts if rollout.rewards]
        write_rollouts(
            self._config.run_dir, self._step, sampled[: self._config.observe.rollout_groups]
        )
        tokens = sum(len(c.token_ids) for r in rollouts for c in r.group.completions)
        step_s = published - started + self._rest_s
        return (
            metrics
            | advance.metrics
            | _means([a.seconds for a in arrived])
            | {
                "rollout/dropped_equal_groups": float(dropped),
                "rollout/tokens_per_s": tokens / step_s,
                "publish/bytes": float(advance.num_bytes),
                "time/wait_s": collected - started,
                "time/learner_s": advance.learner_s,
                "time/publish_s": advance.publish_s,
                "time/rest_s": self._rest_s,
                "time/step_s": step_s,
            }
        )

    async def _keep_and_evaluate(self) -> None:
        """Checkpoint and evaluation when they are due; their time counts to the next step."""
        started = time.monotonic()
        is_last = self._step == self._config.train.max_steps
        if is_last or self._step % self._config.checkpoint.every_steps == 0:
            await self._save()
        if self._evaluation and self._evaluation.is_due(self._step):
            await self._evaluation.start(self._step)
        self._rest_s = time.monotonic() - started

    def _fill_slots(self) -> None:
        while len(self._alive) < self._config.slots:
            self._start_group()

    def _start_group(self) -> None:
        index = self._next
        self._next += 1
        self._alive[index] = asyncio.create_task(travel(self._run, index, self._stream[index]))

    async def _next_groups(self) -> tuple[list[Arrived], int]:
        """The oldest groups alive, as many as a step takes, and how many were dropped."""
        groups: list[Arrived] = []
        dropped = 0
        while len(groups) < self._config.train.groups_per_step:
            index = self._position
            arrived = await self._alive[index]
            del self._alive[index]
            self._position += 1
            rewards = [reward.total for reward in arrived.rollout.rewards]
            if self._config.train.dynamic_sampling and not has_signal(rewards):
                dropped += 1
                write_event(
                    self._config.run_dir, "group dropped", index=index, reason="equal rewards"
                )
                self._start_group()
                continue
            groups.append(arrived)
        return groups, dropped

    async def _save(self) -> None:
        path = await save_checkpoint(
            self._config.run_dir / "checkpoints",
            RunState(step=self._step, position=self._position),
            self._run.learner.save,
            keep=self._config.checkpoint.keep,
        )
        write_event(self._config.run_dir, "checkpoint", path=path.name)


def _means(rows: list[dict[str, Any]]) -> dict[str, float]:
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
