"""The loop: prompts become groups, groups a step, a step new weights. There is no second one.

Groups are never older than max_staleness versions when they are trained on
(`keomni_rl.driver.slots`); max_staleness 0 is synchronous GRPO.
"""

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import ray

from keomni_rl.config.schema import RunConfig
from keomni_rl.driver.checkpoints import Checkpoints
from keomni_rl.driver.evaluation import Evaluation
from keomni_rl.driver.group_metrics import group_metrics
from keomni_rl.driver.journey import Arrived
from keomni_rl.driver.run import Advance, Run
from keomni_rl.driver.slots import Slots
from keomni_rl.driver.stopping import Stop, unless
from keomni_rl.errors import (
    ActorError,
    CheckpointError,
    EngineError,
    LearnerLostError,
    NonFiniteLossError,
    StoppedError,
)
from keomni_rl.observe.sinks import MetricsWriter, write_batch, write_event, write_rollouts
from keomni_rl.storage.manifest import RunState

log = logging.getLogger(__name__)
Doing = Callable[[str], AbstractContextManager[None]]
"""Shows what is being done meanwhile."""
OnStep = Callable[[int, Mapping[str, float]], None]
FAILURES = (StoppedError, ActorError, EngineError, NonFiniteLossError, ray.exceptions.RayError)
"""Ends of a run in which the learner is as it was after its last step."""


class Loop:
    """One training run from a state to its last step."""

    def __init__(
        self,
        run: Run,
        slots: Slots,
        *,
        checkpoints: Checkpoints,
        writer: MetricsWriter,
        evaluation: Evaluation | None,
        stop: Stop,
        on_step: OnStep,
        doing: Doing = lambda _: nullcontext(),
    ) -> None:
        self._run = run
        self._config: RunConfig = run.config
        self._slots = slots
        self._saved_step = run.step
        self._rest_s = 0.0
        self._checkpoints = checkpoints
        self._writer = writer
        self._evaluation = evaluation
        self._stop = stop
        self._on_step = on_step
        self._doing = doing

    @property
    def _step(self) -> int:
        return self._run.step

    async def train(self) -> None:
        """Run to ``train.max_steps``.

        Consumes: the prompt stream. Waits for: groups, the learner, publication, and for an
        evaluation only when the next one is due. Unblocked by: the actors, and by SIGTERM.

        Raises:
            StoppedError: told to leave; everything that was learnt is in a checkpoint.
            LearnerLostError: the learner has to be started anew, from the last checkpoint.
            FAILURES: something else failed for good; what was learnt is in a checkpoint.
        """
        try:
            await unless(self._train(), self._run.learner_loss())
        except LearnerLostError:
            raise
        except FAILURES:
            await self._save()
            raise
        finally:
            await self._slots.close()
            if self._evaluation:
                await self._evaluation.cancel()

    async def _train(self) -> None:
        await self._evaluate_if_due()
        self._slots.fill(self._run.version)
        while self._step < self._config.train.max_steps:
            metrics = await self._one_step()
            # Before the checkpoint: a kill between the two must not leave a gap.
            self._writer.write(self._step, metrics)
            self._on_step(self._step, metrics)
            self._write_evaluations()
            await self._keep_and_evaluate()
        if self._evaluation:
            await self._stop.or_raise(self._evaluation.finish())
            self._write_evaluations()

    def _write_evaluations(self) -> None:
        """Figures of evaluations that have ended go to the lines of the steps that they are of."""
        if self._evaluation:
            self._writer.add_evaluations(self._evaluation.take_finished())

    async def _one_step(self) -> dict[str, float]:
        started = time.monotonic()
        batch = await self._stop.or_raise(self._slots.next_batch(self._run.version))
        collected = time.monotonic()
        groups = list(batch.groups.values())
        rollouts = [arrived.rollout for arrived in groups]
        metrics = group_metrics(
            rollouts,
            policy_version=self._run.version,
            think_max_words=self._config.prompt.measured_words,
        )
        advance = await self._advance(groups)
        published = time.monotonic()
        self._slots.free(batch)
        if self._step < self._config.train.max_steps:
            self._slots.fill(self._run.version)
        sampled = [rollout for rollout in rollouts if rollout.rewards]
        write_rollouts(
            self._config.folder, self._step, sampled[: self._config.observe.rollout_groups]
        )
        tokens = sum(len(c.token_ids) for r in rollouts for c in r.group.completions)
        step_s = published - started + self._rest_s
        return (
            metrics
            | advance.metrics
            | _means([arrived.seconds for arrived in groups])
            | {
                "rollout/dropped_equal_groups": float(batch.num_dropped),
                "rollout/tokens_per_s": tokens / step_s,
                "publish/bytes": float(advance.sent.num_bytes),
                "publish/pause_s": advance.sent.pause_s,
                "time/wait_s": collected - started,
                "time/learner_s": advance.learner_s,
                "time/publish_s": advance.publish_s,
                "time/rest_s": self._rest_s,
                "time/step_s": step_s,
            }
        )

    async def _advance(self, arrived: list[Arrived]) -> Advance:
        """One optimizer step; a batch that it fails on is kept for study."""
        rollouts = [a.rollout for a in arrived]
        try:
            return await self._run.advance(rollouts, [a.clip for a in arrived])
        except NonFiniteLossError as error:
            path = write_batch(self._config.folder, self._step + 1, rollouts)
            raise NonFiniteLossError(
                f"step {self._step + 1}: {getattr(error, 'cause', error)}; weights and optimizer "
                f"are as they were, and the step's groups are in {path}"
            ) from error

    async def _keep_and_evaluate(self) -> None:
        """Checkpoint and evaluation when they are due; their time counts to the next step."""
        started = time.monotonic()
        is_last = self._step == self._config.train.max_steps
        if is_last or self._step % self._config.checkpoint.every_steps == 0:
            await self._save()
        self._stop.check()
        await self._evaluate_if_due()
        self._rest_s = time.monotonic() - started

    async def _evaluate_if_due(self) -> None:
        if self._evaluation and self._evaluation.is_due(self._step):
            await self._stop.or_raise(self._evaluation.finish())
            await self._evaluation.start()

    async def _save(self) -> None:
        """Write a checkpoint unless this step has one; a disk that fails does not end the run.

        Raises:
            CheckpointError: the run is at its end, and its end could not be written.
        """
        if self._step == self._saved_step:
            return
        try:
            with self._doing(f"writing the checkpoint of step {self._step}"):
                name = await self._checkpoints.save(
                    RunState(
                        step=self._step,
                        version=self._run.version,
                        position=self._slots.position,
                        ahead=self._slots.ahead,
                    ),
                    self._run.save,
                    keep=self._config.checkpoint.keep,
                )
        except OSError as error:
            cause = str(getattr(error, "cause", error))
            write_event(self._config.folder, "checkpoint failed", step=self._step, cause=cause)
            message = f"no checkpoint of step {self._step}: {cause}"
            if self._step == self._config.train.max_steps:
                raise CheckpointError(f"{message}; mend that and resume the run") from error
            log.warning("%s; the run goes on, and the one before it stays", message)
            return
        self._saved_step = self._step
        write_event(self._config.folder, "checkpoint", path=name)


def _means(rows: list[dict[str, Any]]) -> dict[str, float]:
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
