"""``watch``."""

import signal
import sys
from typing import Annotated

import typer
from rich.console import Console

EXIT_CODES = {"failed": 1, "stopped": 128 + signal.SIGTERM}
"""Those of the run itself; a run that has ended is 0."""


def watch(
    run_dir: Annotated[
        str,
        typer.Argument(help="Folder of a run, or its URL.", metavar="RUN_DIR"),
    ],
    once: Annotated[bool, typer.Option("--once", help="Show it as it is now, and leave.")] = False,
    interval: Annotated[
        float, typer.Option(help="Seconds between two looks.", min=0.1, metavar="S")
    ] = 2.0,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print it as it is now as one JSON object, and leave.")
    ] = False,
) -> None:
    """Watch a run while it goes on: steps, curves, evaluations, what happened.

    Leaves when the run is over, with 0 if it came to its end, 1 if it failed and 143 if it was
    stopped. A log gets a line a step instead of a screen.

    Examples:
        keomni-rl watch runs/demo
        keomni-rl watch s3://bucket/demo --interval 10
        keomni-rl watch runs/demo --once
        keomni-rl watch runs/demo --json
    """
    from keomni_rl.config.run_dir import located
    from keomni_rl.observe.watch.follow import follow, look
    from keomni_rl.observe.watch.screen import Screen

    place = located(run_dir)
    if as_json:
        sys.stdout.write(look(place).model_dump_json(indent=2) + "\n")
    elif once:
        Console().print(Screen(look(place)))
    else:
        shot = follow(place, Console(), interval_s=interval)
        raise typer.Exit(EXIT_CODES.get(shot.state, 0))
