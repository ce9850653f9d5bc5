"""``prepare mmau``: any of MMAU's forms to its official array."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from keomni_rl.observe.progress import Progress

UNPUBLISHED = {
    "custom": "these are not the ids of a published test-mini",
    "other text": "a question, an option or an answer is not as it was published",
}
"""How the name of a version that was never published ends -> what that means."""


def mmau(
    sources: Annotated[
        list[Path],
        typer.Argument(
            help="The official JSON, a tar.gz that holds it, Parquet files, or a folder of them."
        ),
    ],
    out: Annotated[
        Path, typer.Option(help="Folder for mmau-test-mini.json (or mmau-test.json) and its clips.")
    ],
    audio: Annotated[
        Path | None,
        typer.Option(help="Folder or tar.gz of the clips; beside the JSON, or in it, by default."),
    ] = None,
) -> None:
    """MMAU to its official array with its clips, and which version it is.

    Clips stay as they are, but MP3 streams under the name of a wav are decoded; letters before
    options are taken off. What is odd in the questions stays and is named.

    Examples:
        keomni-rl prepare mmau MMAU-test-mini/data/ --out mmau
        keomni-rl prepare mmau mmau-test-mini.json --audio test-mini-audios.tar.gz --out mmau
    """
    from keomni_rl.data.prepare.mmau_prepare import prepare_mmau
    from keomni_rl.data.prepare.mmau_sources import open_source

    source = open_source(sources, audio)
    console = Console()
    with Progress("questions", source.num_questions, console=console) as progress:
        prepared = prepare_mmau(source, out, advance=progress.advance)
    table = Table("", "", title=escape(f"MMAU: {prepared.version}"), show_header=False)
    table.columns[1].justify = "right"
    table.add_row("questions", f"{sum(prepared.by_task.values()):,}", style="bold")
    for task, count in prepared.by_task.items():
        table.add_row(escape(f"  {task}"), f"{count:,}")
    table.add_section()
    for what, ids in prepared.odd.items():
        table.add_row(escape(what), f"{len(ids):,}")
    console.print(table)
    lines = [f"wrote {prepared.file}"]
    if meaning := UNPUBLISHED.get(prepared.version.split(", ")[-1]):
        lines.insert(0, f"{prepared.version}: {meaning}; do not compare scores with published ones")
    if prepared.odd:
        lines.append(f"ids of all these: {prepared.notes}")
    for line in lines:
        console.print(line, soft_wrap=True, highlight=False, markup=False)
