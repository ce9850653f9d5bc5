"""Start to finish of one training run: folder, checks, actors, loop, report."""

import asyncio
import itertools
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import ray
from rich.console import Console

from keomni_rl.actors.loss import first_line
from keomni_rl.actors.placement import check_placement
from keomni_rl.actors.remote import join_ray
from keomni_rl.config import RunConfig, to_yaml
from keomni_rl.driver.account import Account
from keomni_rl.driver.checkpoints import Checkpoint, Checkpoints
from keomni_rl.driver.evaluation import Evaluation
from keomni_rl.driver.job import refuse_passing_folder, tell_short_stop
from keomni_rl.driver.journey import travel
from keomni_rl.driver.loop import FAILURES, Loop
from keomni_rl.driver.monitor import TrainingMonitor, monitored
from keomni_rl.driver.preflight import Inputs, check_adapters, open_inputs
from keomni_rl.driver.run import Run
from keomni_rl.driver.run_dir import drop_evaluations, held
from keomni_rl.driver.settle import settle, tell_idle
from keomni_rl.driver.slots import Slots
from keomni_rl.driver.start_failure import refusal_told
from keomni_rl.driver.stopping import Stop, unless
from keomni_rl.driver.topology import roles, start_run
from keomni_rl.errors import LearnerLostError, StoppedError
from keomni_rl.observe.doing import doing
from keomni_rl.observe.packages import package_versions
from keomni_rl.observe.progress import Progress, step_figures
from keomni_rl.observe.sinks import MetricsWriter, truncate_metrics, write_event
from keomni_rl.observe.trackers import Tracker, tracked
from keomni_rl.storage.manifest import RunState

log = logging.getLogger(__name__)


def train(config: RunConfig, *, resume: bool, console: Console) -> None:
    """Train to the end, from the beginning or from the last checkpoint of the run folder.

    Raises:
        ConfigError, DataError, CheckpointError: the run cannot start as asked.
        StoppedError: told to leave by SIGTERM; resuming goes on.
    """
    config = settle(config)
    refuse_passing_folder(config.run_dir)
    with held(config.run_dir, command="train", resume=resume) as checkpoints:
        with doing("looking at model, questions and clips", console):
            inputs = open_inputs(config)
        newest = checkpoints.newest() if resume else None
        if newest:
            check_adapters(newest.folder, config.learner)
        join_ray(config.placement.address)
        try:
            check_placement(config.placement, roles(config))
            roll_back(config.folder, _state(newest))
            (config.folder / "config.yaml").write_text(to_yaml(config))
            with tracked(config) as trackers:
                training = Training(config, inputs, checkpoints, console, trackers)
                asyncio.run(training.run_from(newest))
        finally:
            ray.shutdown()


@dataclass(eq=False)
class Training:
    """One driver's part of a run, which may be all of it."""

    config: RunConfig
    inputs: Inputs
    checkpoints: Checkpoints
    console: Console
    trackers: Sequence[Tracker] = ()
    account: Account = field(default_factory=Account)
    stop: Stop = field(default_factory=Stop)

    async def run_from(self, newest: Checkpoint | None) -> None:
        """Start all actors at a checkpoint, or at the beginning, and train to the end."""
        config, state = self.config, _state(newest)
        where = {"step": state.step, "position": state.position}
        write_event(config.folder, "start", **where, packages=package_versions())
        tell_idle(config, self.console)
        tell_short_stop(self.console)
        if newest:
            self.console.print(f"resuming at step {state.step} from {newest.folder.name}")
        self.stop.listen()
        try:
            with refusal_told(), doing("starting engines (vLLM, DeepSpeed)", self.console):
                run = await self.stop.or_raise(start_run(config, state, _place(newest)))
            self.checkpoints.forget()
            reached = {"step": run.step, "version": run.version}
            write_event(config.folder, "ready", **reached, seconds=run.ready_s)
            monitor = TrainingMonitor(run, self.account)
            async with monitored(config.folder.name, monitor.read):
                await self._through_losses(run, newest, monitor)
        except FAILURES as error:
            event = "stopped" if isinstance(error, StoppedError) else "failed"
            cause = first_line(error)
            write_event(config.folder, event, cause=cause, **self.account.as_event())
            raise
        await run.close()
        write_event(config.folder, "end", step=config.train.max_steps, **self.account.as_event())

    async def _through_losses(
        self, run: Run, newest: Checkpoint | None, monitor: TrainingMonitor
    ) -> None:
        """The loop, begun again from the last checkpoint whenever the learner is lost."""
        for monitor.learner_restarts in itertools.count():
            try:
                return await self._train(run, newest, monitor)
            except LearnerLostError as error:
                if monitor.learner_restarts == self.config.faults.learner_restarts:
                    raise
                newest = await self._take_back(run, error)
                await self.stop.or_raise(self._restart_learner(run, newest))
                replaced = {"step": run.step, "version": run.version}
                write_event(self.config.folder, "learner replaced", **replaced)

    async def _train(self, run: Run, newest: Checkpoint | None, monitor: TrainingMonitor) -> None:
        config, state = self.config, _state(newest)
        writer = MetricsWriter(
            config.folder, tensorboard=config.observe.tensorboard, trackers=self.trackers
        )
        evaluation = None
        if config.evaluation and self.inputs.evaluation is not None:
            evaluation = Evaluation(run, config.evaluation, self.inputs.evaluation)
        slots = Slots(config, partial(travel, run, self.inputs.stream), self.account, state)
        monitor.slots, monitor.evaluation = slots, evaluation
        progress = Progress("step", config.train.max_steps, done=state.step, console=self.console)

        def on_step(step: int, metrics: Mapping[str, float]) -> None:
            progress.update(step, step_figures(metrics))
            monitor.metrics = metrics

        try:
            with progress:
                if evaluation:
                    left = self._finish_broken_off(run, evaluation, newest)
                    await self.stop.or_raise(unless(left, run.learner_loss()))
                loop = Loop(
                    run,
                    slots,
                    checkpoints=self.checkpoints,
                    writer=writer,
                    evaluation=evaluation,
                    stop=self.stop,
                    on_step=on_step,
                    doing=partial(doing, console=self.console),
                )
                await loop.train()
        finally:
            writer.close()

    async def _finish_broken_off(
        self, run: Run, evaluation: Evaluation, newest: Checkpoint | None
    ) -> None:
        """Finish evaluations of earlier policies that a stop, a kill or a lost learner broke off.

        The learner takes each policy up once more, from its checkpoint, before it goes on.
        """
        is_back = False
        for step in evaluation.broken_off(before=_state(newest).step):
            policy = await asyncio.to_thread(self.checkpoints.of_step, step)
            if step and not policy:
                cause = "it was broken off, and there is no checkpoint of its policy any more"
                write_event(self.config.folder, "evaluation not finished", step=step, cause=cause)
                continue
            is_back = True
            await run.start_learner(RunState(step=step), policy)
            await evaluation.start()
            await evaluation.finish()
        if is_back:
            await self._restart_learner(run, newest)

    async def _take_back(self, run: Run, error: LearnerLostError) -> Checkpoint | None:
        """Take back what a lost learner has forgotten; the checkpoint that it goes on from."""
        newest = await asyncio.to_thread(self.checkpoints.newest)
        back_to = _state(newest).step
        log.warning("%s; starting the learner anew at step %d", error, back_to)
        write_event(
            self.config.folder, "learner lost", cause=str(error), step=run.step, back_to=back_to
        )
        num_steps = max(0, run.step - back_to)
        self.account.undo(num_steps * self.config.train.groups_per_step)
        roll_back(self.config.folder, _state(newest))
        return newest

    async def _restart_learner(self, run: Run, newest: Checkpoint | None) -> None:
        await run.start_learner(_state(newest), _place(newest))
        self.checkpoints.forget()
        await run.share_weights()


def _state(newest: Checkpoint | None) -> RunState:
    return newest.state if newest else RunState()


def _place(newest: Checkpoint | None) -> Path | str | None:
    return newest.place if newest else None


def roll_back(run_dir: Path, state: RunState) -> None:
    """Take back what a run folder says of steps after a state, which will be taken anew."""
    truncate_metrics(run_dir, state.step)
    drop_evaluations(run_dir, after=state.step)
