"""The command line: one function a command; what a command needs is imported when it runs."""

import logging
import os
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.logging import RichHandler
from rich.table import Table

from keomni_rl.errors import USER_ERRORS

app = typer.Typer(
    help="GRPO for audio language models on Ray, vLLM and DeepSpeed.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
console = Console()
DEMO_CACHE = Path.home() / ".cache" / "keomni_rl"
DEMO_CONFIG = Path(__file__).parent.parent / "configs" / "demo.yaml"

Words = Annotated[
    list[str] | None, typer.Argument(help="YAML files and section.key=value overrides, in order.")
]


@app.command()
def train(
    words: Words = None,
    resume: Annotated[
        Path | None, typer.Option(help="Go on with the run in this folder.", metavar="RUN_DIR")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Validate everything, print the plan, start nothing.")
    ] = False,
) -> None:
    """Train a policy.

    Examples:
        keomni-rl train configs/ke_omni_r_7b.yaml run_dir=runs/first model.path=/models/omni
        keomni-rl train my.yaml --check
        keomni-rl train --resume runs/first
    """
    from keomni_rl.config import RunConfig, load_config
    from keomni_rl.driver.check import check_run
    from keomni_rl.driver.train import train as run_training

    words = words or []
    if resume:
        words = [str(resume / "config.yaml"), *words, f"run_dir={resume}"]
    config = load_config(RunConfig, words)
    if check:
        plan = Table("what", "this run", title="Plan")
        for name, text in check_run(config):
            plan.add_row(name, text)
        console.print(plan)
        return
    run_training(config, resume=resume is not None, console=console)
    _show_results(config.run_dir)


@app.command()
def demo(
    words: Annotated[
        list[str] | None, typer.Argument(help="Overrides of configs/demo.yaml, section.key=value.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Run folder; a new one each time by default.")] = Path(
        "runs/demo"
    ),
    seed: Annotated[int, typer.Option(help="Of sounds, model, warm-up and training.")] = 0,
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
    files, model = prepare_demo(DemoSpec(seed=seed), cache, console)
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


@app.command()
def report(
    run_dir: Annotated[Path, typer.Argument(help="Folder of a run.", exists=True)],
) -> None:
    """Write report.html from a run folder, finished or not."""
    from keomni_rl.observe.report import write_report

    console.print(f"report: {write_report(run_dir)}")


def _show_results(run_dir: Path) -> None:
    from keomni_rl.driver.train import read_evaluations
    from keomni_rl.observe.report import write_report
    from keomni_rl.observe.table import evaluation_table

    if found := read_evaluations(run_dir):
        console.print(evaluation_table(found[0], found[-1] if len(found) > 1 else None))
    console.print(f"report: {write_report(run_dir)}", soft_wrap=True)


def _unused(out: Path) -> Path:
    """``out``, or the first of ``out-2``, ``out-3``... that holds no run."""
    candidate, number = out, 1
    while (candidate / "config.yaml").exists():
        number += 1
        candidate = out.with_name(f"{out.name}-{number}")
    return candidate


def main() -> None:
    """Run the command line; a user's error is one message and exit code 2."""
    # A shell's background job is born with interrupts ignored; ours must always be stoppable.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    is_debug = "--debug" in sys.argv
    arguments = [word for word in sys.argv[1:] if word != "--debug"]
    logging.basicConfig(
        level=logging.WARNING,
        format="%(message)s",
        handlers=[RichHandler(console=Console(stderr=True), show_path=False)],
    )
    try:
        app(arguments)
    except USER_ERRORS as error:
        if is_debug:
            raise
        Console(stderr=True).print(f"error: {error}", style="red", markup=False, soft_wrap=True)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
