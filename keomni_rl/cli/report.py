"""``report``."""

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console


def report(
    folders: Annotated[
        list[Path],
        typer.Argument(help="Folders that train or evaluate made.", metavar="FOLDER"),
    ],
    out: Annotated[
        Path | None, typer.Option(help="The file; report.html in the first folder by default.")
    ] = None,
    audio: Annotated[
        Literal["all", "wrong", "none"],
        typer.Option(help="Clips to put in; those of wrong answers come first."),
    ] = "all",
    audio_mb: Annotated[
        float, typer.Option(help="Megabytes of the page that clips may take.", min=0)
    ] = 64,
) -> None:
    """Write one page that opens without network: of a run, an evaluation, or several together.

    Of a training run: results, curves, sampled rollouts.

    Of an evaluation, or of evaluation/step_000100 in a run: every question with its sound.

    Of two evaluations: whether they differ, question by question.

    Of several runs and evaluations: a table of methods.

    Examples:
        keomni-rl report runs/demo
        keomni-rl report runs/mmau --audio wrong
        keomni-rl report runs/after runs/before --out difference.html
        keomni-rl report runs/sft runs/grpo runs/grpo_think --out methods.html
    """
    from keomni_rl.observe.report import write_report
    from keomni_rl.observe.report.sounds import Embedding

    console = Console()
    with console.status("writing the report"):
        path = write_report(*folders, out=out, embedding=Embedding(audio, audio_mb))
    console.print(f"report: {path}", markup=False, soft_wrap=True)
