"""``doctor``."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def doctor(
    address: Annotated[
        str | None,
        typer.Option(
            help="Of the Ray cluster that runs join, as RAY_ADDRESS; none starts Ray here.",
            metavar="HOST:PORT",
        ),
    ] = None,
    run_dir: Annotated[
        str, typer.Option(help="Folder or URL that a run is to have.", metavar="RUN_DIR")
    ] = "runs",
    bundle: Annotated[
        Path | None,
        typer.Option(
            help="Put the findings into this zip for a bug report, without secrets.",
            metavar="FILE.zip",
        ),
    ] = None,
    run: Annotated[
        str | None,
        typer.Option(
            help="Folder or URL of a run that is to go into the bundle: its configuration, "
            "events, last metrics and logs.",
            metavar="RUN_DIR",
        ),
    ] = None,
    texts: Annotated[
        bool,
        typer.Option(
            "--texts",
            help="Put the run's sampled rollouts into the bundle too, and leave questions and "
            "completions in messages as they are.",
        ),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object and nothing else.")
    ] = False,
) -> None:
    """Tell what this machine has, what is missing, and what to do about it.

    Nothing is changed, but DeepSpeed's operators are compiled if they are not yet. Exit code 1 if
    something would keep a run from starting.

    Examples:
        keomni-rl doctor
        keomni-rl doctor --address 10.0.0.1:6379 --run-dir s3://bucket/first
        keomni-rl doctor --json
        keomni-rl doctor --bundle report.zip --run runs/first
    """
    from keomni_rl.config.run_dir import located
    from keomni_rl.doctor.bundle import Included, check_bundle, write_bundle
    from keomni_rl.doctor.examination import Asked, examine
    from keomni_rl.doctor.finding import Status
    from keomni_rl.doctor.table import show
    from keomni_rl.observe.progress import Progress

    located(run_dir)
    included = Included(run=located(run) if run else None, texts=texts)
    check_bundle(bundle, included)
    asked = Asked(address=address or os.environ.get("RAY_ADDRESS") or None, run_dir=run_dir)
    errors = Console(stderr=True)
    with Progress("looked at", 1, as_percent=True, console=errors) as progress:
        diagnosis = examine(asked, progress.update)
    if as_json:
        sys.stdout.write(diagnosis.model_dump_json(indent=2) + "\n")
    else:
        show(diagnosis, Console())
    if bundle:
        write_bundle(bundle, diagnosis, included)
        errors.print(f"bundle: {bundle}", markup=False, soft_wrap=True)
    if diagnosis.status is Status.FAILURE:
        raise typer.Exit(1)
