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
from keomni_rl.driver.checkpoints import Checkpoint, Checkpoints
from keomni_rl.driver.evaluation import Evaluation
from keomni_rl.driver.loop import FAILURES, Loop
from keomni_rl.driver.preflight import Inputs, check_adapters, open_inputs
from keomni_rl.driver.run import Run
from keomni_rl.driver.run_dir import drop_evaluations, held
from keomni_rl.driver.settle import settle, tell_idle
from keomni_rl.driver.slots import Slots
from keomni_rl.driver.start_failure import refusal_told
from keomni_rl.driver.stopping import Stop
from keomni_rl.driver.topology import start_run
from keomni_rl.errors import LearnerLostError, StoppedError
from keomni_rl.observe.progress import Progress, step_figures
from keomni_rl.observe.sinks import MetricsWriter, truncate_metrics, write_event
from keomni_rl.storage.manifest import RunState

log = logging.getLogger(__name__)


def train(config: RunConfig, *, resume: bool, console: Console) -> None:
    """Train to the end, from the beginning or from the last checkpoint of the run folder.

    Raises:
        ConfigError, DataError, CheckpointError: the run cannot start as asked.
        StoppedError: told to leave by SIGTERM; resuming goes on.
    """
    config = settle(config)
    with held(config.run_dir, command="train", resume=resume) as checkpoints:
        inputs = open_inputs(config)
        newest = checkpoints.newest() if resume else None
        if newest:
            check_adapters(newest.folder, config.learner)
        join_ray(config.placement.address)
        try:
            check_placement(config.placement, roles(config))
            roll_back(config.folder, _state(newest))
            (config.folder / "config.yaml").write_text(to_yaml(config))
            asyncio.run(_train(config, inputs, checkpoints, newest, console))
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
    checkpoints: Checkpoints,
    newest: Checkpoint | None,
    console: Console,
) -> None:
    state = _state(newest)
    write_event(config.folder, "start", step=state.step, position=state.position)
    tell_idle(config, console)
    if newest:
        console.print(f"resuming at step {state.step} from {newest.folder.name}")
    stop = Stop()
    stop.listen()
    account = Account()
    try:
        with refusal_told(), console.status("starting engines (vLLM, DeepSpeed)"):
            run = await stop.or_raise(start_run(config, state, newest.place if newest else None))
        checkpoints.forget()
        await _train_through_losses(run, inputs, checkpoints, state, account, stop, console)
    except FAILURES as error:
        event = "stopped" if isinstance(error, StoppedError) else "failed"
        write_event(config.folder, event, cause=first_line(error), **account.as_event())
        raise
    await run.close()
    write_event(config.folder, "end", step=config.train.max_steps, **account.as_event())


async def _train_through_losses(
    run: Run,
    inputs: Inputs,
    checkpoints: Checkpoints,
    state: RunState,
    account: Account,
    stop: Stop,
    console: Console,
) -> None:
    """The loop, begun again from the last checkpoint whenever the learner is lost."""
    config = run.config
    for restarts in itertools.count():
        writer = MetricsWriter(config.folder, tensorboard=config.observe.tensorboard)
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
                    checkpoints=checkpoints,
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
            newest = await asyncio.to_thread(checkpoints.newest)
            state = _state(newest)
            log.warning("%s; starting the learner anew at step %d", error, state.step)
            write_event(
                config.folder, "learner lost", cause=str(error), step=run.step, back_to=state.step
            )
            account.undo((run.step - state.step) * config.train.groups_per_step)
            roll_back(config.folder, state)
            await stop.or_raise(run.start_learner(state, newest.place if newest else None))
            checkpoints.forget()
            await stop.or_raise(run.share_weights())
        finally:
            writer.close()


def _state(newest: Checkpoint | None) -> RunState:
    return newest.state if newest else RunState()


def roll_back(run_dir: Path, state: RunState) -> None:
    """Take back what a run folder says of steps after a state, which will be taken anew."""
    truncate_metrics(run_dir, state.step)
    drop_evaluations(run_dir, after=state.step)
