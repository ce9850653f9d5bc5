"""``prepare avqa``, ``prepare musicbench`` and ``prepare audiomcq``: questions to train on."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from keomni_rl.cli.prepare.overlap import DropOverlap, Overlap, overlap_search
from keomni_rl.cli.prepare.write import write_questions

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

    write_questions(
        "AVQA",
        partial(convert_avqa, raw, all_relations=all_relations),
        QuestionWriter(out, audio=audio, raw=raw, kind_key=KIND_KEY),
        Selection(seed=seed, sample=sample),
        overlap_search(overlap, out, drop=drop_overlap),
    )


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
        keomni-rl prepare musicbench MusicBench_train.json --audio mb --out mb/key.jsonl \\
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
    write_questions(
        "MusicBench",
        partial(convert, raw, kinds=asked, seed=seed),
        QuestionWriter(out, audio=audio, raw=raw, kind_key=KIND_KEY),
        Selection(seed=seed, sample=sample),
        overlap_search(overlap, out, drop=drop_overlap),
    )


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
    write_questions(
        "AudioMCQ",
        partial(convert_audiomcq, manifest, all_contributions=all_contributions),
        QuestionWriter(
            out,
            audio=audio or manifest.parent,
            raw=manifest,
            kind_key=KIND_KEY,
            holds_out=heldout > 0,
        ),
        Selection(seed=seed, sample=sample, heldout=heldout),
        overlap_search(overlap, out, drop=drop_overlap),
    )


def _kinds(text: str) -> list[str]:
    from keomni_rl.data.prepare.music_labels import KINDS
    from keomni_rl.errors import ConfigError

    kinds = [word.strip() for word in text.split(",")]
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        raise ConfigError(f"--kinds: {unknown[0]!r} is none of {', '.join(KINDS)}")
    return list(dict.fromkeys(kinds))
