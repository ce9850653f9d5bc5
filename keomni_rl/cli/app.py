"""All commands under one name, and how a user's error is shown: one message, exit code 2."""

import logging
import signal
import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.logging import RichHandler

from keomni_rl import __version__
from keomni_rl.cli import (
    doctor,
    evaluation,
    model,
    plan,
    prepare,
    report,
    serve,
    training,
    watch,
)
from keomni_rl.errors import RUN_ERRORS, USER_ERRORS, StoppedError

HELP = """GRPO for audio language models on Ray, vLLM and DeepSpeed.

A mistake is one message and exit code 2; --debug behind any command shows the traceback.

Examples:
    keomni-rl demo
    keomni-rl train my.yaml --check
    keomni-rl watch runs/demo
    keomni-rl --install-completion
"""
app = typer.Typer(
    help=HELP,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    training.train,
    training.demo,
    plan.plan,
    watch.watch,
    report.report,
    evaluation.evaluate,
    evaluation.score,
    model.infer,
    serve.serve,
    model.export,
    doctor.doctor,
):
    app.command()(command)
app.add_typer(prepare.app, name="prepare")


def _print_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"keomni-rl {__version__}")
        raise typer.Exit


@app.callback(help=HELP)
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """What comes before any command."""


def main() -> None:
    """Run the command line; a user's error is one message and exit code 2, a run's is 1."""
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
    except (*USER_ERRORS, *RUN_ERRORS) as error:
        if is_debug:
            raise
        # What an actor raised comes with its whole traceback; its cause is the message alone.
        message = getattr(error, "cause", None) or error
        Console(stderr=True).print(f"error: {message}", style="red", markup=False, soft_wrap=True)
        sys.exit(2 if isinstance(error, USER_ERRORS) else 1)
    except StoppedError as error:
        Console(stderr=True).print(f"{error}; go on with --resume", markup=False, soft_wrap=True)
        sys.exit(128 + signal.SIGTERM)
    except KeyboardInterrupt:
        sys.exit(130)
