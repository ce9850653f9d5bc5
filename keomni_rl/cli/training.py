"""``train`` and ``demo``."""

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table

from keomni_rl.errors import ConfigError

console = Console()
DEMO_CACHE = Path.home() / ".cache" / "keomni_rl"
DEMO_CONFIG = Path(__file__).parents[2] / "configs" / "demo.yaml"

Words = Annotated[
    list[str] | None, typer.Argument(help="YAML files and section.key=value overrides, in order.")
]


def train(
    words: Words = None,
    resume: Annotated[
        str | None,
        typer.Option(help="Go on with the run in this folder or at this URL.", metavar="RUN_DIR"),
    ] = None,
    start_or_resume: Annotated[
        bool,
        typer.Option(
            "--start-or-resume",
            help="Go on with the run in run_dir if there is one: the same command starts a job "
            "and, after a preemption, starts it again.",
        ),
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Validate everything, print the plan, start nothing.")
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="With --check: print plan and problems as one JSON object."),
    ] = False,
) -> None:
    """Train a policy.

    Examples:
        keomni-rl train configs/ke_omni_r_7b.yaml run_dir=runs/first model.path=/models/omni
        keomni-rl train my.yaml --check
        keomni-rl train my.yaml --check --json
        keomni-rl train --resume runs/first
        keomni-rl train my.yaml run_dir=s3://bucket/first
        keomni-rl train my.yaml run_dir=/shared/runs/first --start-or-resume
    """
    if as_json and not check:
        raise ConfigError("--json is of --check; watch a run with `keomni-rl watch RUN_DIR --json`")
    from keomni_rl.config import RunConfig
    from keomni_rl.driver.check import check_run
    from keomni_rl.driver.train import train as run_training
    from keomni_rl.storage.reading import load_run

    config, goes_on = load_run(
        RunConfig, words or [], resume=resume, start_or_resume=start_or_resume
    )
    if check:
        found = check_run(config)
        if as_json:
            answer = {"plan": found.plan, "problems": found.problems}
            sys.stdout.write(json.dumps(answer, indent=2) + "\n")
            raise typer.Exit(2 if found.problems else 0)
        plan = Table("what", "this run", title="Plan")
        for name, text in found.plan:
            plan.add_row(name, text)
        console.print(plan)
        if found.problems:
            raise ConfigError("\n".join(["this run cannot start as it is:", *found.problems]))
        return
    run_training(config, resume=goes_on, console=console)
    _show_results(config.run_dir)


def demo(
    words: Annotated[
        list[str] | None, typer.Argument(help="Overrides of configs/demo.yaml, section.key=value.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Run folder; a new one each time by default.")] = Path(
        "runs/demo"
    ),
    seed: Annotated[int, typer.Option(help="Of sounds, model, warm-up and training.")] = 0,
    family: Annotated[
        Literal["qwen2_5_omni", "qwen2_audio"], typer.Option(help="Of the model.")
    ] = "qwen2_5_omni",
) -> None:
    """Train a tiny model on generated sounds, on a CPU, in minutes.

    Example:
        keomni-rl demo --out runs/first
    """
    from keomni_rl.config import RunConfig, load_config
    from keomni_rl.driver.demo import DemoSpec, prepare_demo
    from keomni_rl.driver.train import train as run_training

    cache = Path(os.environ.get("KEOMNI_RL_CACHE", DEMO_CACHE))
    out = _unused(out)
    files, model = prepare_demo(DemoSpec(seed=seed, family=family), cache, console)
    config = load_config(
        RunConfig,
        [
            str(DEMO_CONFIG),
            f"run_dir={out}",
            f"model.path={model}",
            f"data.train=[{files.train}]",
            f"evaluation.file={files.heldout}",
            f"train.seed={seed}",
            *(words or []),
        ],
    )
    run_training(config, resume=False, console=console)
    _show_results(out)


def _show_results(run_dir: Path | str) -> None:
    from keomni_rl.config.run_dir import working_folder
    from keomni_rl.driver.evaluation import read_evaluations
    from keomni_rl.observe.report import write_report
    from keomni_rl.observe.table import evaluation_table
    from keomni_rl.storage.reading import add_file

    folder = working_folder(run_dir)
    if found := read_evaluations(folder):
        console.print(evaluation_table(found[0], found[-1] if len(found) > 1 else None))
    report = add_file(run_dir, write_report(folder))
    console.print(f"report: {report}", markup=False, soft_wrap=True)


def _unused(out: Path) -> Path:
    """``out``, or the first of ``out-2``, ``out-3``... that holds no run."""
    candidate, number = out, 1
    while (candidate / "config.yaml").exists():
        number += 1
        candidate = out.with_name(f"{out.name}-{number}")
    return candidate
