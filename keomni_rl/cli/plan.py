"""``plan``."""

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from keomni_rl.errors import ConfigError

if TYPE_CHECKING:
    from keomni_rl.planning.balance import Split
    from keomni_rl.planning.memory import RoleMemory
    from keomni_rl.planning.plan import Plan, Timing
    from keomni_rl.planning.simulation import Simulated

GIB = 2**30
GB = 10**9


def plan(
    words: Annotated[
        list[str] | None,
        typer.Argument(help="YAML files and section.key=value overrides, in order."),
    ] = None,
    rates: Annotated[
        Path | None,
        typer.Option(help="Measured speeds, written by scripts/bench.py rates.", metavar="FILE"),
    ] = None,
    gpu_memory: Annotated[
        float | None, typer.Option(help="Of each GPU, in GiB.", metavar="GIB")
    ] = None,
    bandwidth: Annotated[
        float | None,
        typer.Option(help="Of a weight transfer, in GB a second.", metavar="GB/S"),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object and nothing else.")
    ] = False,
) -> None:
    """Tell what a training will take: memory, bytes, time, and what to change.

    Of the model config.json is enough. Times need rates, which were measured.

    Examples:
        keomni-rl plan configs/ke_omni_r_7b.yaml --gpu-memory 80
        keomni-rl plan mine.yaml placement.rollout.actors=4 --rates rates.json
    """
    os.environ.setdefault("DS_ACCELERATOR", "cpu")  # transformers loads DeepSpeed, which would ask
    from keomni_rl.config import RunConfig, load_config
    from keomni_rl.models.hub import described_model
    from keomni_rl.planning.plan import make_plan
    from keomni_rl.planning.rates import Machine, read_rates
    from keomni_rl.planning.shape import model_shape

    for option, value in (("--gpu-memory", gpu_memory), ("--bandwidth", bandwidth)):
        if value is not None and not 0 < value < float("inf"):
            raise ConfigError(f"{option}: {value:g}, wanted a number above 0")
    config = load_config(RunConfig, words or [])
    measured = read_rates(rates) if rates else None
    model = described_model(config.model.path, config.model.revision)
    made = make_plan(
        config,
        model_shape(model, config.learner),
        gpu_gib=gpu_memory,
        rates=measured,
        bandwidth=bandwidth * GB if bandwidth else None,
        machine=Machine.here() if measured else None,
    )
    if as_json:
        sys.stdout.write(json.dumps(made.as_json(), indent=2) + "\n")
        return
    _show(made, Console())


def _show(made: "Plan", console: Console) -> None:
    console.print(_memory_table(made.memory))
    sent = f"transfer: {made.transfer_bytes / GIB:,.3f} GiB to each rollout actor after a step"
    if made.transfer_s is not None:
        sent += f", {made.transfer_s:,.3g} s"
    console.print(sent)
    if made.timing:
        _show_timing(made.timing, console)
    else:
        console.print("time: not told without --rates, or of supervised training")
    for line in made.advice:
        console.print(f"advice: {line}", style="yellow", markup=False, soft_wrap=True)


def _memory_table(memory: "tuple[RoleMemory, ...]") -> Table:
    table = Table("role", "what", "GiB", "from", title="Memory of one actor, on each of its GPUs")
    table.columns[2].justify = "right"
    for role in memory:
        where = "" if role.on_gpu else " (host)"
        for part in role.parts:
            about = "about " if part.is_estimate else ""
            table.add_row(
                role.role + where, part.name, f"{about}{part.num_bytes / GIB:,.3f}", part.how
            )
        if role.host_bytes:
            table.add_row("", "in host memory", f"{role.host_bytes / GIB:,.3f}", "optimizer")
        table.add_row("", "together", f"{role.num_bytes / GIB:,.3f}", "", end_section=True)
    return table


def _show_timing(timing: "Timing", console: Console) -> None:
    for line in timing.mismatches:
        console.print(f"beware: {line}", style="yellow", markup=False, soft_wrap=True)
    times, w = timing.times, timing.workload
    table = Table(
        "role",
        "s a step",
        title=f"{w.groups_per_step} groups of {w.group_size} completions of "
        f"{w.completion_tokens:,.0f} tokens, prompts of {w.prompt_tokens:,.0f}",
    )
    table.columns[1].justify = "right"
    for role, seconds in (
        ("rollout", times.rollout),
        ("reference", times.reference),
        ("learner", times.learner),
        ("publication", times.publish),
    ):
        mark = "  <- bottleneck" if role == timing.bottleneck else ""
        table.add_row(role + mark, f"{seconds:,.3g}")
    console.print(table)
    console.print(
        f"a step as configured ({_told(timing.configured)}): {timing.configured_step_s:,.3g} s\n"
        f"the best split of the same ({_told(timing.best)}): {timing.best_step_s:,.3g} s"
    )
    console.print(_scaling_table(timing.scaling))


def _told(split: "Split") -> str:
    return f"{split.rollout} rollout, {split.learner} learner, {split.reference} reference"


def _scaling_table(scaling: "tuple[Simulated, ...]") -> Table:
    table = Table(
        "rollout actors",
        "s a step",
        "speed-up",
        "learner idle",
        "rollouts idle",
        title="Simulated, all else as configured",
    )
    for column in table.columns:
        column.justify = "right"
    for one in scaling:
        table.add_row(
            f"{one.replicas:,}",
            f"{one.step_s:,.3g}",
            f"{scaling[0].step_s / one.step_s:.2f}",
            f"{one.learner_idle:.0%}",
            f"{one.rollout_idle:.0%}",
        )
    return table
