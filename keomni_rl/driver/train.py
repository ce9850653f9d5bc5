"""Start to finish of one training run: folder, checks, actors, loop, report."""

import asyncio
import fcntl
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ray
from rich.console import Console

from keomni_rl.actors.remote import check_placement, join_ray
from keomni_rl.config import RunConfig, to_yaml
from keomni_rl.driver.checkpoints import RunState, latest_checkpoint
from keomni_rl.driver.evaluate import Evaluation
from keomni_rl.driver.loop import Loop
from keomni_rl.driver.preflight import Inputs, open_inputs
from keomni_rl.driver.run import Run
from keomni_rl.errors import ConfigError
from keomni_rl.evaluation.summary import Summary, read_summary
from keomni_rl.observe.progress import TrainProgress
from keomni_rl.observe.sinks import MetricsWriter, truncate_metrics, write_event

log = logging.getLogger(__name__)


def train(config: RunConfig, *, resume: bool, console: Console) -> None:
    """Train to the end, from the beginning or from the last checkpoint of the run folder.

    Raises:
        ConfigError, DataError, CheckpointError: the run cannot start as asked.
    """
    prepare_run_dir(config, resume=resume)
    with locked(config.run_dir):
        inputs = open_inputs(config)
        found = latest_checkpoint(config.run_dir / "checkpoints") if resume else None
        checkpoint, state = found or (None, RunState())
        truncate_metrics(config.run_dir, state.step)
        (config.run_dir / "config.yaml").write_text(to_yaml(config))
        join_ray(config.placement.address)
        try:
            check_placement(config.placement, roles(config))
            asyncio.run(_train(config, inputs, checkpoint, state, console))
        finally:
            ray.shutdown()


def roles(config: RunConfig) -> list[str]:
    """Names of the placement's roles that this run starts."""
    optional = {"reference": config.algo.beta > 0, "evaluator": config.evaluation is not None}
    return ["rollout", "learner", *(name for name, is_used in optional.items() if is_used)]


async def _train(
    config: RunConfig,
    inputs: Inputs,
    checkpoint: Path | None,
    state: RunState,
    console: Console,
) -> None:
    write_event(config.run_dir, "start", step=state.step, position=state.position)
    if checkpoint:
        console.print(f"resuming at step {state.step} from {checkpoint.name}")
    with console.status("starting engines (vLLM, DeepSpeed)"):
        run = await Run.start(config, step=state.step, checkpoint=checkpoint)
    writer = MetricsWriter(config.run_dir, tensorboard=config.observe.tensorboard)
    evaluation = None
    if config.evaluation and inputs.evaluation is not None:
        evaluation = Evaluation(run, config.evaluation, inputs.evaluation)
    with TrainProgress(config.train.max_steps, done=state.step, console=console) as progress:
        loop = Loop(run, inputs.stream, state, writer, evaluation, progress.update)
        await loop.train()
    writer.close()
    await run.close()
    write_event(config.run_dir, "end", step=config.train.max_steps)


def prepare_run_dir(config: RunConfig, *, resume: bool) -> None:
    """Make the run folder, or refuse one that another run has filled.

    Raises:
        ConfigError: the folder is taken and this is no resumption, or the other way round.
    """
    is_taken = (config.run_dir / "config.yaml").exists()
    if is_taken and not resume:
        raise ConfigError(
            f"run_dir {config.run_dir} holds a run already; go on with it by "
            f"`keomni-rl train --resume {config.run_dir}` or give another run_dir"
        )
    if resume and not is_taken:
        raise ConfigError(f"{config.run_dir} holds no run to resume (no config.yaml in it)")
    config.run_dir.mkdir(parents=True, exist_ok=True)


@contextmanager
def locked(run_dir: Path) -> Iterator[None]:
    """Hold the run folder against a second driver; the kernel lets go when this process ends.

    Raises:
        ConfigError: another driver holds it.
    """
    with (run_dir / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(
                f"{run_dir}: another driver is running in this folder; stop it first"
            ) from error
        yield


def read_evaluations(run_dir: Path) -> list[Summary]:
    """All finished evaluations of a run, by policy version."""
    return [read_summary(p) for p in sorted((run_dir / "evaluation").glob("step_*/summary.json"))]
