"""Start to finish of one training run: folder, checks, actors, loop, report."""

import asyncio
import itertools
import logging
from pathlib import Path

import ray
from rich.console import Console

from keomni_rl.actors.loss import first_line
from keomni_rl.actors.remote import check_placement, join_ray
from keomni_rl.config import RunConfig, to_yaml
from keomni_rl.driver.account import Account
from keomni_rl.driver.checkpoints import RunState, latest_checkpoint
from keomni_rl.driver.evaluation import Evaluation
from keomni_rl.driver.job import refuse_passing_folder, tell_short_stop
from keomni_rl.driver.loop import FAILURES, Loop
from keomni_rl.driver.preflight import Inputs, check_adapters, open_inputs
from keomni_rl.driver.run import Run
from keomni_rl.driver.run_dir import drop_evaluations, locked, prepare_run_dir
from keomni_rl.driver.settle import settle, tell_idle
from keomni_rl.driver.slots import Slots
from keomni_rl.driver.start_failure import refusal_told
from keomni_rl.driver.stopping import Stop
from keomni_rl.driver.topology import start_run
from keomni_rl.errors import LearnerLostError, StoppedError
from keomni_rl.observe.progress import Progress, step_figures
from keomni_rl.observe.sinks import MetricsWriter, truncate_metrics, write_event

log = logging.getLogger(__name__)


def train(config: RunConfig, *, resume: bool, console: Console) -> None:
    """Train to the end, from the beginning or from the last checkpoint of the run folder.

    Raises:
        ConfigError, DataError, CheckpointError: the run cannot start as asked.
        StoppedError: told to leave by SIGTERM; resuming goes on.
    """
    config = settle(config)
    refuse_passing_folder(config.run_dir)
    prepare_run_dir(config.run_dir, command="train", resume=resume)
    with locked(config.run_dir):
        inputs = open_inputs(config)
        checkpoint, state = newest_state(config.run_dir) if resume else (None, RunState())
        if checkpoint:
            check_adapters(checkpoint, config.learner)
        join_ray(config.placement.address)
        try:
            check_placement(config.placement, roles(config))
            roll_back(config.run_dir, state)
            (config.run_dir / "config.yaml").write_text(to_yaml(config))
            asyncio.run(_train(config, inputs, checkpoint, state, console))
        finally:
            ray.shutdown()


def roles(config: RunConfig) -> list[str]:
    """Names of the placement's roles that this run starts."""
    is_used = {
        "rollout": config.algo.kind == "grpo",
        "learner": True,
        "reference": config.algo.beta > 0,
        "evaluator": config.evaluation is not None,
    }
    return [role for role, used in is_used.items() if used]


async def _train(
    config: RunConfig,
    inputs: Inputs,
    checkpoint: Path | None,
    state: RunState,
    console: Console,
) -> None:
    write_event(config.run_dir, "start", step=state.step, position=state.position)
    tell_idle(config, console)
    tell_short_stop(console)
    if checkpoint:
        console.print(f"resuming at step {state.step} from {checkpoint.name}")
    stop = Stop()
    stop.listen()
    account = Account()
    try:
        with refusal_told(), console.status("starting engines (vLLM, DeepSpeed)"):
            run = await stop.or_raise(start_run(config, state, checkpoint))
        await _train_through_losses(run, inputs, state, account, stop, console)
    except FAILURES as error:
        event = "stopped" if isinstance(error, StoppedError) else "failed"
        write_event(config.run_dir, event, cause=first_line(error), **account.as_event())
        raise
    await run.close()
    write_event(config.run_dir, "end", step=config.train.max_steps, **account.as_event())


async def _train_through_losses(
    run: Run,
    inputs: Inputs,
    state: RunState,
    account: Account,
    stop: Stop,
    console: Console,
) -> None:
    """The loop, begun again from the last checkpoint whenever the learner is lost."""
    config = run.config
    for restarts in itertools.count():
        writer = MetricsWriter(config.run_dir, tensorboard=config.observe.tensorboard)
        evaluation = None
        if config.evaluation and inputs.evaluation is not None:
            evaluation = Evaluation(run, config.evaluation, inputs.evaluation)
        try:
            with Progress(
                "step", config.train.max_steps, done=state.step, console=console
            ) as progress:
                loop = Loop(
                    run,
                    Slots(run, inputs.stream, state.position, account),
                    writer=writer,
                    evaluation=evaluation,
                    stop=stop,
                    on_step=lambda step, metrics: progress.update(step, step_figures(metrics)),
                )
                await loop.train()
            return
        except LearnerLostError as error:
            if restarts == config.faults.learner_restarts:
                raise
            checkpoint, state = newest_state(config.run_dir)
            log.warning("%s; starting the learner anew at step %d", error, state.step)
            write_event(
                config.run_dir, "learner lost", cause=str(error), step=run.step, back_to=state.step
            )
            account.undo((run.step - state.step) * config.train.groups_per_step)
            roll_back(config.run_dir, state)
            await stop.or_raise(run.start_learner(state, checkpoint))
            await stop.or_raise(run.share_weights())
        finally:
            writer.close()


def newest_state(run_dir: Path) -> tuple[Path | None, RunState]:
    """The last good checkpoint and what it says; the beginning if there is none."""
    return latest_checkpoint(run_dir / "checkpoints") or (None, RunState())


def roll_back(run_dir: Path, state: RunState) -> None:
    """Take back what a run folder says of steps after a state, which will be taken anew."""
    truncate_metrics(run_dir, state.step)
    drop_evaluations(run_dir, after=state.step)
