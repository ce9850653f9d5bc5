"""``report``."""

import json
import shutil
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console


def report(
    folders: Annotated[
        list[str],
        typer.Argument(
            help="Folders that train or evaluate made, or their URLs.", metavar="FOLDER"
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            help="The file; by default report.html in the first folder; of a URL NAME.html too."
        ),
    ] = None,
    audio: Annotated[
        Literal["all", "wrong", "none"],
        typer.Option(help="Clips to put in; those of wrong answers come first."),
    ] = "all",
    audio_mb: Annotated[
        float, typer.Option(help="Megabytes of the page that clips may take.", min=0)
    ] = 64,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print where it was written to as one JSON object.")
    ] = False,
) -> None:
    """Write one page that opens without network: of a run, an evaluation, or several together.

    Of a training run, at its end or under way: results, curves, every kept group of rollouts.

    Of an evaluation, or of evaluation/step_000100 in a run: every question with its sound.

    Of two evaluations: whether they differ, question by question.

    Of several runs and evaluations: a table of methods, the settings that differ, common curves.

    Examples:
        keomni-rl report runs/demo
        keomni-rl report runs/a runs/b --out side_by_side.html
        keomni-rl report runs/mmau --audio wrong
        keomni-rl report s3://bucket/demo
        keomni-rl report runs/after runs/before --out difference.html
        keomni-rl report runs/sft runs/grpo runs/grpo_think --out methods.html
    """
    from keomni_rl.config.run_dir import last_name, located
    from keomni_rl.observe.doing import doing
    from keomni_rl.observe.report import write_report
    from keomni_rl.observe.report.sounds import Embedding
    from keomni_rl.storage.reading import add_file, local_folder

    console = Console(stderr=as_json)
    places = [located(folder) for folder in folders]
    with doing("writing the report", console), ExitStack() as copies:
        here = [copies.enter_context(local_folder(place)) for place in places]
        path = write_report(*here, out=out, embedding=Embedding(audio, audio_mb))
        written: list[Path | str] = [path]
        if out is None and isinstance(places[0], str):
            copy = Path(f"{last_name(places[0])}.html")
            shutil.copyfile(path, copy)
            written = [copy, add_file(places[0], path)]
    if as_json:
        sys.stdout.write(json.dumps({"written": [str(place) for place in written]}) + "\n")
        return
    for place in written:
        console.print(f"report: {place}", markup=False, soft_wrap=True)
