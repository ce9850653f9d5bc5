"""What every training set goes through: read, compared, chosen from, written, shown."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from keomni_rl.cli.prepare.overlap import OverlapSearch
from keomni_rl.observe.doing import doing
from keomni_rl.observe.progress import Progress

if TYPE_CHECKING:
    from keomni_rl.data.prepare.question_writer import QuestionWriter, Written
    from keomni_rl.data.prepare.selection import Selection


Convert = Callable[..., int]
"""Called with a writer, which it gives the questions of a download, and ``advance``, which it tells
of each share of the work; returns how many rows the download has."""


def write_questions(
    name: str,
    convert: Convert,
    writer: "QuestionWriter",
    selection: "Selection",
    search: OverlapSearch | None,
) -> None:
    """Make the files of a training set and show what is in them.

    Args:
        name: of the dataset.
        convert: reads the download.
        writer: takes its questions.
        selection: which of them are written.
        search: for clips that an evaluation set has too; those to be dropped are not selected.

    Raises:
        DataError: the download cannot be read, the files not be written, or nothing is left.
    """
    console = Console()
    with writer:
        with Progress("reading", 1, as_percent=True, console=console) as progress:
            num_rows = convert(writer, advance=progress.advance)
        if search and (clips := writer.audio_paths()):
            is_all = selection.sample is None and not selection.heldout
            called = "training clips" if is_all else "candidate clips"
            selection = replace(selection, drop=search.run(clips, console, called=called))
        with doing("writing questions", console):
            written = writer.finish(selection)
    _show(f"{name}: {num_rows:,} rows", written, console)


def _show(title: str, written: "Written", console: Console) -> None:
    table = Table("", "", title=title, show_header=False)
    table.columns[1].justify = "right"
    table.add_row("questions to train on", f"{written.num_train:,}", style="bold")
    if len(written.kinds) > 1:
        for kind, count in written.kinds.items():
            table.add_row(escape(f"  {kind}"), f"{count:,}")
    table.add_row("on clips", f"{written.num_clips:,}")
    places = range(1, max(written.places) + 1)
    shares = [f"{written.places.get(place, 0) / written.num_train:.0%}" for place in places]
    table.add_row("right answer first, second, ...", " ".join(shares))
    if written.num_heldout:
        table.add_row("questions held out", f"{written.num_heldout:,}")
    table.add_section()
    for reason, count in written.reasons.items():
        table.add_row(escape(f"skipped: {reason}"), f"{count:,}")
    console.print(table)
    for path in (written.train, written.heldout, written.skipped):
        if path:
            console.print(f"wrote {path}", soft_wrap=True, highlight=False, markup=False)
