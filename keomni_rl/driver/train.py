"""Start to finish of one training run: folder, checks, actors, loop, report."""

import asyncio
import logging
from pathlib import Path

import ray
from rich.console import Console

from keomni_rl.actors.remote import check_placement, join_ray
from keomni_rl.config import RunConfig, to_yaml
from keomni_rl.driver.checkpoints import RunState, latest_checkpoint
from keomni_rl.driver.evaluation import Evaluation
from keomni_rl.driver.loop import Loop
from keomni_rl.driver.preflight import Inputs, open_inputs, settle
from keomni_rl.driver.run import Run
from keomni_rl.driver.run_dir import drop_evaluations, locked, prepare_run_dir
from keomni_rl.evaluation.summary import Summary, read_summary
from keomni_rl.observe.progress import TrainProgress
from keomni_rl.observe.sinks import MetricsWriter, truncate_metrics, write_event

log = logging.getLogger(__name__)


def train(config: RunConfig, *, resume: bool, console: Console) -> None:
    """Train to the end, from the beginning or from the last checkpoint of the run folder.

    Raises:
        ConfigError, DataError, CheckpointError: the run cannot start as asked.
    """
    config = settle(config)
    prepare_run_dir(config.run_dir, command="train", resume=resume)
    with locked(config.run_dir):
        inputs = open_inputs(config)
        found = latest_checkpoint(config.run_dir / "checkpoints") if resume else None
        checkpoint, state = found or (None, RunState())
        join_ray(config.placement.address)
        try:
            check_placement(config.placement, roles(config))
            truncate_metrics(config.run_dir, state.step)
            drop_evaluations(config.run_dir, after=state.step)
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


def read_evaluations(run_dir: Path) -> list[Summary]:
    """All finished evaluations of a run, by policy version."""
    return [read_summary(p) for p in sorted((run_dir / "evaluation").glob("step_*/summary.json"))]
