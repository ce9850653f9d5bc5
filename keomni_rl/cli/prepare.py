"""``prepare``: raw downloads become files of the training format, or MMAU's official array."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from keomni_rl.cli.overlap import DropOverlap, Overlap, OverlapSearch, overlap_search

if TYPE_CHECKING:
    from keomni_rl.data.prepare.question_writer import QuestionWriter, Written
    from keomni_rl.data.prepare.selection import Selection

app = typer.Typer(help="Turn raw downloads into questions.", no_args_is_help=True)
console = Console()

Out = Annotated[
    Path,
    typer.Option(
        help="JSONL file to write, in the folder that holds the audio or above it. "
        "NAME.skipped.jsonl beside it lists what was skipped and why."
    ),
]
Audio = Annotated[Path, typer.Option(help="Folder of the audio files.")]
Sample = Annotated[
    int | None, typer.Option(min=1, help="Keep this many questions, chosen at random.")
]
Seed = Annotated[int, typer.Option(help="Of every random choice.")]


@app.command()
def avqa(
    raw: Annotated[Path, typer.Argument(help="AVQA's train_qa.json.")],
    audio: Audio,
    out: Out,
    all_relations: Annotated[
        bool,
        typer.Option(
            "--all-relations",
            help="Keep questions for which seeing is enough and questions about colour, "
            "as R1-AQA did.",
        ),
    ] = False,
    sample: Sample = None,
    seed: Seed = 0,
    overlap: Overlap = None,
    drop_overlap: DropOverlap = False,
) -> None:
    """AVQA's JSON to training questions.

    Examples:
        keomni-rl prepare avqa train_qa.json --audio avqa/wavs --out avqa/train.jsonl --sample 5000
        keomni-rl prepare avqa train_qa.json --audio avqa/wavs --out avqa/r1.jsonl --all-relations
    """
    from keomni_rl.data.prepare.avqa import KIND_KEY, convert_avqa
    from keomni_rl.data.prepare.question_writer import QuestionWriter
    from keomni_rl.data.prepare.selection import Selection

    search = overlap_search(overlap, out, drop=drop_overlap)
    with QuestionWriter(out, audio=audio, raw=raw, kind_key=KIND_KEY) as writer:
        with _progress("reading", None) as advance:
            num_rows = convert_avqa(raw, writer, all_relations=all_relations, advance=advance)
        written = _finish(writer, Selection(seed=seed, sample=sample), search)
    _show("AVQA", num_rows, written)


@app.command()
def musicbench(
    raw: Annotated[Path, typer.Argument(help="MusicBench_train.json (JSON Lines).")],
    audio: Annotated[Path, typer.Option(help="Folder that holds data/ and data_aug2/.")],
    out: Out,
    kinds: Annotated[
        str, typer.Option(help="Questions to ask: key, tempo and time, separated by commas.")
    ] = "key,tempo,time",
    min_keyprob: Annotated[
        float,
        typer.Option(min=0, max=1, help="Skip keys that were recognised with less probability."),
    ] = 0.0,
    compat: Annotated[
        bool, typer.Option("--compat", help="Ke-Omni-R's own questions, faults included.")
    ] = False,
    sample: Sample = None,
    seed: Seed = 0,
    overlap: Overlap = None,
    drop_overlap: DropOverlap = False,
) -> None:
    """MusicBench's JSON Lines to questions about key, tempo and time signature.

    Examples:
        keomni-rl prepare musicbench MusicBench_train.json --audio mb --out mb/train.jsonl
        keomni-rl prepare musicbench MusicBench_train.json --audio mb --out mb/key.jsonl
            --kinds key --min-keyprob 0.8 --sample 5000
    """
    from keomni_rl.data.prepare.musicbench import KIND_KEY, convert_compat, convert_musicbench
    from keomni_rl.data.prepare.question_writer import QuestionWriter
    from keomni_rl.data.prepare.selection import Selection
    from keomni_rl.errors import ConfigError

    if compat and min_keyprob:
        raise ConfigError("--compat asks about every key as Ke-Omni-R did; leave --min-keyprob out")
    asked = _kinds(kinds)
    convert = convert_compat if compat else partial(convert_musicbench, min_keyprob=min_keyprob)
    search = overlap_search(overlap, out, drop=drop_overlap)
    with QuestionWriter(out, audio=audio, raw=raw, kind_key=KIND_KEY) as writer:
        with _progress("reading", raw) as advance:
            num_rows = convert(raw, writer, kinds=asked, seed=seed, advance=advance)
        written = _finish(writer, Selection(seed=seed, sample=sample), search)
    _show("MusicBench", num_rows, written)


@app.command()
def audiomcq(
    raw: Annotated[Path, typer.Argument(help="AudioMCQ's folder, or its data.jsonl.")],
    out: Out,
    audio: Annotated[
        Path | None, typer.Option(help="Folder of the audio files; the manifest's by default.")
    ] = None,
    heldout: Annotated[
        int,
        typer.Option(
            min=0,
            help="Write this many questions to NAME.heldout.jsonl instead; training hears none "
            "of their clips.",
        ),
    ] = 0,
    all_contributions: Annotated[
        bool,
        typer.Option(
            "--all-contributions",
            help="Of the full set, keep questions that can be answered without listening.",
        ),
    ] = False,
    sample: Sample = None,
    seed: Seed = 0,
    overlap: Overlap = None,
    drop_overlap: DropOverlap = False,
) -> None:
    """AudioMCQ's manifest to training questions and a held-out slice.

    Examples:
        keomni-rl prepare audiomcq audiomcq/ --out audiomcq/train.jsonl --heldout 256
    """
    from keomni_rl.data.prepare.audiomcq import KIND_KEY, convert_audiomcq, find_manifest
    from keomni_rl.data.prepare.question_writer import QuestionWriter
    from keomni_rl.data.prepare.selection import Selection

    manifest = find_manifest(raw)
    audio = audio or manifest.parent
    search = overlap_search(overlap, out, drop=drop_overlap)
    with QuestionWriter(
        out, audio=audio, raw=manifest, kind_key=KIND_KEY, holds_out=heldout > 0
    ) as writer:
        with _progress("reading", manifest) as advance:
            num_rows = convert_audiomcq(
                manifest, writer, all_contributions=all_contributions, advance=advance
            )
        written = _finish(writer, Selection(seed=seed, sample=sample, heldout=heldout), search)
    _show("AudioMCQ", num_rows, written)


@app.command()
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
    with _progress("questions", source.num_questions) as advance:
        prepared = prepare_mmau(source, out, advance=advance)
    table = Table("", "", title=escape(f"MMAU: {prepared.version}"), show_header=False)
    table.columns[1].justify = "right"
    table.add_row("questions", f"{sum(prepared.by_task.values()):,}", style="bold")
    for task, count in prepared.by_task.items():
        table.add_row(escape(f"  {task}"), f"{count:,}")
    table.add_section()
    for what, ids in prepared.odd.items():
        table.add_row(escape(what), f"{len(ids):,}")
    console.print(table)
    _print_line(f"wrote {prepared.file}")
    if prepared.odd:
        _print_line(f"ids of all these: {prepared.notes}")


def _finish(
    writer: "QuestionWriter", selection: "Selection", search: OverlapSearch | None
) -> "Written":
    """The last step of every training set: choose among its questions and write them."""
    if search and (clips := writer.audio_paths()):
        with _progress("comparing clips", len(clips) + len(search.clips)) as advance:
            is_all = selection.sample is None and not selection.heldout
            called = "training clips" if is_all else "candidate clips"
            drop = search.run(clips, console, advance, called=called)
        selection = replace(selection, drop=drop)
    return writer.finish(selection)


def _kinds(text: str) -> list[str]:
    from keomni_rl.data.prepare.music_labels import KINDS
    from keomni_rl.errors import ConfigError

    kinds = [word.strip() for word in text.split(",")]
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        raise ConfigError(f"--kinds: {unknown[0]!r} is none of {', '.join(KINDS)}")
    return list(dict.fromkeys(kinds))


@contextmanager
def _progress(what: str, of: Path | int | None) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal: of a file's bytes, of a number, or of an unknown number."""
    total = (of.stat().st_size if of.is_file() else None) if isinstance(of, Path) else of
    columns = (TextColumn(what), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task(what, total=total)
        yield lambda steps: bar.advance(task, steps)


def _show(name: str, num_rows: int, written: "Written") -> None:
    table = Table("", "", title=f"{name}: {num_rows:,} rows", show_header=False)
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
            _print_line(f"wrote {path}")


def _print_line(line: str) -> None:
    """A line as it stands, however long and whatever brackets are in its paths."""
    console.print(line, soft_wrap=True, highlight=False, markup=False)
