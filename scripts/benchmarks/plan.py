"""The planner against real trainings: predicted and measured seconds of a step, side by side.

Rates are measured with the actors of the very training that is predicted, before and after it, so
that whatever else this machine does weighs on both.
"""

import asyncio
import logging
import os
import statistics
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.result import result

log = logging.getLogger(__name__)
GOAL = 0.85
"""Predicted and measured step times are within 15% of each other."""
NUM_STEPS = 8
COLD_STEPS = 2
THREADS = 1
CASES = (
    # rollout actors, max_staleness, groups of a step, completions of a group
    (1, 0, 8, 8),
    (1, 1, 8, 8),
    (1, 0, 16, 4),
    (2, 0, 8, 8),
    (2, 1, 16, 4),
)


@dataclass(frozen=True, slots=True)
class Case:
    """One training, what was predicted of it and what it took."""

    actors: int
    max_staleness: int
    groups_per_step: int
    group_size: int
    predicted_s: float
    measured_s: float
    measured_spread: float
    """(max - min) / median of its steps."""

    def __str__(self) -> str:
        """A line of the table."""
        return (
            f"{self.actors:>6} {self.max_staleness:>5} {self.groups_per_step:>6} "
            f"{self.group_size:>4} {self.predicted_s:>8.2f}s {self.measured_s:>7.2f}s "
            f"{self.agreement:>9.0%} ({self.measured_spread:.0%})"
        )

    @property
    def agreement(self) -> float:
        """1 where prediction and measurement are the same; the smaller over the larger."""
        return min(self.predicted_s, self.measured_s) / max(self.predicted_s, self.measured_s)


def plan(repetitions: int) -> dict[str, Any]:
    """Short trainings of the tiny model: median step time, predicted and measured.

    The figure is the worst agreement of all cases. ``repetitions`` is the number of rounds that
    rates are measured in.
    """
    with tempfile.TemporaryDirectory() as folder:
        config = _tiny_config(Path(folder))
        print("actors stale groups size predicted measured agreement (spread of steps)")
        cases = asyncio.run(_all_cases(config, max(1, repetitions // 2)))
    agreements = [case.agreement for case in cases]
    return result(
        "plan",
        "measured seconds a step, the worst case",
        min(agreements),
        GOAL,
        f"median of {len(cases)} cases {statistics.median(agreements):.3f}",
        cases=[asdict(case) | {"agreement": case.agreement} for case in cases],
    )


def write_measured(words: list[str], rounds: int, out: Path) -> None:
    """Measure each role of a configuration and write the file that ``keomni-rl plan`` takes."""
    from keomni_rl.config import RunConfig, load_config
    from keomni_rl.driver.settle import settle
    from keomni_rl.planning.rates import write_rates

    with tempfile.TemporaryDirectory() as folder:
        fixed = [f"run_dir={folder}", "learner.lr=0", "evaluation=null"]
        config = settle(load_config(RunConfig, [*words, *fixed]))
        if config.algo.kind != "grpo":
            raise SystemExit("algo.kind: supervised samples nothing; rates are those of grpo")
        rates = asyncio.run(_measured(config, rounds))
    write_rates(out, rates)
    print(f"rates of {rates.model} on {rates.machine.cores} x {rates.machine.cpu}: {out}")


async def _measured(config: Any, rounds: int) -> Any:
    async with _training(config) as (_, stopwatch, _):
        for _ in range(rounds):
            await stopwatch.measure()
        return stopwatch.rates()


def _tiny_config(folder: Path) -> Any:
    from rich.console import Console

    from keomni_rl.config import RunConfig, load_config
    from keomni_rl.driver.demo import DemoSpec, prepare_demo
    from keomni_rl.driver.settle import settle

    cache = Path(os.environ.get("KEOMNI_RL_CACHE", folder))
    spec = DemoSpec(num_train=200, num_heldout=8, warmup_steps=2)
    files, model = prepare_demo(spec, cache, Console(quiet=True))
    roles = ("rollout", "learner", "reference")
    return settle(
        load_config(
            RunConfig,
            [
                str(Path(__file__).parents[2] / "configs" / "demo.yaml"),
                f"run_dir={folder / 'run'}",
                f"model.path={model}",
                f"data.train=[{files.train}]",
                "evaluation=null",
                "learner.lr=0",
                *(f"placement.{role}.threads={THREADS}" for role in roles),
            ],
        )
    )


@asynccontextmanager
async def _training(config: Any) -> AsyncIterator[Any]:
    """The actors of a training with a stopwatch beside them, warmed up once."""
    import ray

    from benchmarks.rates import Stopwatch
    from keomni_rl.actors.remote import join_ray
    from keomni_rl.driver.preflight import open_stream
    from keomni_rl.driver.topology import start_run
    from keomni_rl.storage.manifest import RunState

    config.folder.mkdir(parents=True, exist_ok=True)
    stream = open_stream(config)
    join_ray(config.placement.address)
    try:
        run = await start_run(config, RunState(), None)
        stopwatch = Stopwatch(run, stream)
        await stopwatch.measure()
        stopwatch.forget()
        yield run, stopwatch, stream
        await run.close()
    finally:
        ray.shutdown()


async def _all_cases(base: Any, rounds: int) -> list[Case]:
    cases = []
    for actors in sorted({actors for actors, *_ in CASES}):
        rollout = base.placement.rollout.model_copy(update={"actors": actors})
        placement = base.placement.model_copy(update={"rollout": rollout})
        config = base.model_copy(
            update={"placement": placement, "run_dir": base.run_dir / f"{actors}"}
        )
        async with _training(config) as (run, stopwatch, stream):
            for _, *dials in (dials for dials in CASES if dials[0] == actors):
                case = await _case(run, stopwatch, stream, *dials, rounds=rounds)
                print(case, flush=True)
                cases.append(case)
    return cases


async def _case(
    run: Any,
    stopwatch: Any,
    stream: Any,
    max_staleness: int,
    groups_per_step: int,
    group_size: int,
    *,
    rounds: int,
) -> Case:
    from keomni_rl.planning.plan import make_plan
    from keomni_rl.planning.shape import model_shape

    run.config = _with_dials(run.config, max_staleness, groups_per_step, group_size)
    stopwatch.forget()
    for _ in range(rounds):
        await stopwatch.measure()
    steps_s = await _train(run, stream)
    for _ in range(rounds):
        await stopwatch.measure()
    rates = stopwatch.rates()
    log.info("rates %s, steps %s", rates, steps_s)
    made = make_plan(
        run.config, model_shape(run.config.model.path, run.config.learner), rates=rates
    )
    median = statistics.median(steps_s)
    return Case(
        actors=run.config.placement.rollout.actors,
        max_staleness=max_staleness,
        groups_per_step=groups_per_step,
        group_size=group_size,
        predicted_s=made.timing.configured_step_s,
        measured_s=median,
        measured_spread=(max(steps_s) - min(steps_s)) / median,
    )


def _with_dials(config: Any, max_staleness: int, groups_per_step: int, group_size: int) -> Any:
    train = {"max_staleness": max_staleness, "groups_per_step": groups_per_step}
    return config.model_copy(
        update={
            "train": config.train.model_copy(update=train),
            "rollout": config.rollout.model_copy(update={"group_size": group_size}),
        }
    )


async def _train(run: Any, stream: Any) -> list[float]:
    """Seconds of each step of a short training, its first ones left out."""
    from keomni_rl.driver.account import Account
    from keomni_rl.driver.checkpoints import LocalCheckpoints
    from keomni_rl.driver.journey import travel
    from keomni_rl.driver.loop import Loop
    from keomni_rl.driver.slots import Slots
    from keomni_rl.driver.stopping import Stop
    from keomni_rl.observe.sinks import MetricsWriter
    from keomni_rl.storage.manifest import RunState

    config = run.config
    last = run.step + COLD_STEPS + NUM_STEPS
    run.config = config.model_copy(
        update={
            "train": config.train.model_copy(update={"max_steps": last}),
            "checkpoint": config.checkpoint.model_copy(update={"every_steps": 10**9}),
        }
    )
    seconds: list[float] = []
    writer = MetricsWriter(config.folder, tensorboard=False)
    state = RunState(position=run.step * config.train.groups_per_step)
    loop = Loop(
        run,
        Slots(run.config, partial(travel, run, stream), Account(), state),
        checkpoints=LocalCheckpoints(config.folder / "checkpoints"),
        writer=writer,
        evaluation=None,
        stop=Stop(),
        on_step=lambda _, metrics: seconds.append(metrics["time/step_s"] - metrics["time/rest_s"]),
    )
    try:
        await loop.train()
    finally:
        writer.close()
        run.config = config
    return seconds[COLD_STEPS:]
