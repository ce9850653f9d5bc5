"""The options ``--overlap`` and ``--drop-overlap`` of every training set, and what they print."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from keomni_rl.errors import ConfigError
from keomni_rl.observe.progress import Progress

if TYPE_CHECKING:
    from keomni_rl.data.prepare.overlap import OverlapReport

NUM_SHOWN = 20

Overlap = Annotated[
    Path | None,
    typer.Option(
        help="MMAU's JSON or a folder of audio: find training clips that occur in it, though "
        "re-encoded, resampled, louder or cut (but not changed in pitch or tempo), and list them "
        "in NAME.overlap.jsonl."
    ),
]
DropOverlap = Annotated[
    bool, typer.Option("--drop-overlap", help="Leave out the questions on the clips found.")
]


@dataclass(frozen=True, slots=True)
class OverlapSearch:
    """What the two options ask for."""

    source: Path
    clips: Sequence[Path]
    """Of the evaluation set."""
    listed: Path
    """The file to list what was found in."""
    drops: bool
    """Whether training is to do without the clips found."""

    def run(
        self,
        training: Sequence[Path],
        console: Console,
        *,
        called: str = "training clips",
    ) -> frozenset[Path]:
        """Search, list what was found in a file, print the first of it.

        Args:
            training: the clips to look for.
            console: to print on.
            called: what the clips are, which may be more than training will hear.

        Returns:
            The training clips to leave out.
        """
        from keomni_rl.data.prepare.overlap import find_overlap, write_overlap

        num_clips = len(training) + len(self.clips)
        with Progress("comparing clips", num_clips, console=console) as progress:
            report = find_overlap(training, self.clips, advance=progress.advance)
        write_overlap(self.listed, report)
        _show(report, self, called, console)
        return frozenset(report.training_clips) if self.drops else frozenset()


def overlap_search(source: Path | None, out: Path, *, drop: bool) -> OverlapSearch | None:
    """Check the two options and find the evaluation set's clips.

    Raises:
        ConfigError: there is something to drop but nothing to look for.
        DataError: the evaluation set holds no audio.
    """
    from keomni_rl.data.prepare.overlap import evaluation_clips

    if source is None:
        if drop:
            raise ConfigError("--drop-overlap needs --overlap with the evaluation set to look in")
        return None
    listed = out.with_suffix(".overlap.jsonl")
    return OverlapSearch(source, evaluation_clips(source), listed, drop)


def _show(report: "OverlapReport", search: OverlapSearch, called: str, console: Console) -> None:
    lines = [
        f"{len(report.training_clips):,} of {report.num_training:,} {called} occur in "
        f"{search.source} ({report.num_evaluation:,} clips)"
    ]
    if missed := report.not_compared:
        first = next(iter(missed.values()))
        lines.append(f"{len(missed):,} clips could not be compared, the first: {first}")
    if report.pairs:
        table = Table("training clip", "evaluation clip", "begins at", "landmarks shared")
        for pair in report.pairs[:NUM_SHOWN]:
            table.add_row(
                escape(pair.training.name),
                escape(pair.evaluation.name),
                f"{round(pair.offset_s, 1) + 0.0} s",
                f"{pair.num_hashes:,} ({pair.share:.0%})",
            )
        console.print(table)
    for line in (*lines, f"wrote {search.listed}"):
        console.print(line, soft_wrap=True, highlight=False, markup=False)
