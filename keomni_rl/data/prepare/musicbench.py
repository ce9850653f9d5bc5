"""MusicBench's JSON Lines to questions about key, tempo and time signature.

MusicBench (Melechovsky et al. 2023, arXiv 2311.08355) may list a clip once for each of its
captions; copies that were pitched, slowed or made louder are clips of their own. A clip is asked
each kind of question once, whatever rows it has and in whatever order; the choices of a question
depend on the seed, the clip and the kind alone. `convert_compat` gives Ke-Omni-R's own questions.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from itertools import combinations
from pathlib import Path, PurePosixPath
from random import Random
from typing import Any, NamedTuple

from keomni_rl.data.prepare.audio_folder import AudioFolder, with_suffixes
from keomni_rl.data.prepare.music_labels import KINDS, LabelKind
from keomni_rl.data.prepare.musicbench_compat import QUESTIONS, compat_choices
from keomni_rl.data.prepare.question_writer import QuestionWriter
from keomni_rl.data.prepare.raw_rows import (
    MALFORMED,
    Advance,
    RawFormat,
    UnusableRowError,
    read_lines,
    wanted_object,
    wanted_text,
)

KIND_KEY = "kind"
KEPT = ("bpm", "keyprob", "is_audioset_eval_mcaps")
"""Raw keys that go with a question: what is known of its clip. Captions and beats stay behind."""


class _Said(NamedTuple):
    """The first row that gives a clip a label."""

    number: int
    known: dict[str, Any]


def convert_musicbench(
    path: Path,
    writer: QuestionWriter,
    *,
    kinds: Sequence[str] = tuple(KINDS),
    min_keyprob: float = 0.0,
    seed: int = 0,
    advance: Advance = lambda _: None,
) -> int:
    """Give a writer the questions of MusicBench, clip by clip; return how many rows it has.

    Skipped, counted and listed are labels that are null, malformed or unknown, repeated rows, rows
    of one clip that contradict each other, and clips whose audio is missing.

    Args:
        path: MusicBench_train.json or another of its files.
        writer: takes the questions.
        kinds: which of ``key``, ``tempo`` and ``time`` to ask.
        min_keyprob: skip keys that were recognised with a lower probability.
        seed: of the choices.
        advance: told of progress.

    Raises:
        DataError: not MusicBench's file, or a line that is no JSON.
    """
    labels: dict[tuple[str, str], dict[str, _Said]] = {}
    num_rows = 0
    for number, row in read_lines(path, _format(kinds), advance):
        num_rows += 1
        for name, location in _asked(row, number, kinds, writer):
            said = labels.setdefault((location, name), {})
            try:
                label = _label(KINDS[name], row, min_keyprob)
                if label in said:
                    raise UnusableRowError("duplicate", f"row {said[label].number} says so too")
            except UnusableRowError as error:
                writer.skip(number, _id(name, location), error.reason, error.detail)
            else:
                said[label] = _Said(number, {key: row[key] for key in KEPT if key in row})
    for (location, name), said in labels.items():
        if said:
            _ask(location, KINDS[name], said, seed, writer)
    return num_rows


def _format(kinds: Collection[str]) -> RawFormat:
    return RawFormat("MusicBench", ("location", *(KINDS[name].column for name in kinds)))


def _asked(
    row: Any, number: int, kinds: Sequence[str], writer: QuestionWriter
) -> list[tuple[str, str]]:
    """Kind and location of each question that a row is asked; none if it names no clip."""
    try:
        location = _wanted_location(row)
    except UnusableRowError as error:
        writer.skip(number, "", error.reason, error.detail)
        return []
    return [(name, location) for name in kinds]


def _wanted_location(row: Any) -> str:
    location = wanted_text(wanted_object(row), "location")
    has_half_pair = any("\ud800" <= character <= "\udfff" for character in location)
    if has_half_pair or not PurePosixPath(location).name:
        raise UnusableRowError(MALFORMED, f"'location' is {location!r:.80}, wanted a file's path")
    return location


def _label(kind: LabelKind, row: Mapping[str, Any], min_keyprob: float) -> str:
    if kind.name == "key" and min_keyprob > 0:
        match row.get("keyprob"):
            case [float() | int() as probability]:
                if probability < min_keyprob:
                    raise UnusableRowError("key: improbable", f"keyprob {probability}")
            case other:
                raise UnusableRowError("key: no probability", f"'keyprob' is {other!r:.80}")
    return kind.label(row)


def _ask(
    location: str, kind: LabelKind, said: Mapping[str, _Said], seed: int, writer: QuestionWriter
) -> None:
    number = min(row.number for row in said.values())
    name = _id(kind.name, location)
    try:
        answer = _agreed(kind, list(said))
        row = {
            "id": name,
            "question": kind.question,
            "choices": kind.choices(answer, Random(f"{seed}/{name}")),
            "answer": answer,
            "audio": _clip(location, writer.audio),
            "dataset": "MusicBench",
            "kind": kind.name,
            "location": location,
        }
        writer.add(row | said[answer].known, number)
    except UnusableRowError as error:
        writer.skip(number, name, error.reason, error.detail)


def _agreed(kind: LabelKind, labels: list[str]) -> str:
    """The label of a clip; of several that may all be true, such as Adagio and Adagietto, one."""
    if not all(kind.clash(one, other) for one, other in combinations(labels, 2)):
        raise UnusableRowError(f"{kind.name}: rows disagree", ", ".join(sorted(labels)))
    return min(labels)


def _id(kind: str, location: str) -> str:
    return f"{kind}_{PurePosixPath(location).with_suffix('')}"


def _clip(location: str, audio: AudioFolder) -> str:
    stem = str(PurePosixPath(location).with_suffix(""))
    return audio.find(*dict.fromkeys((location, *with_suffixes(stem))))


def convert_compat(
    path: Path,
    writer: QuestionWriter,
    *,
    kinds: Sequence[str] = tuple(KINDS),
    seed: int = 0,
    advance: Advance = lambda _: None,
) -> int:
    """Give a writer Ke-Omni-R's own questions, row by row; return how many rows there are.

    As there, the same clip is asked again for each of its rows. Clips without audio are skipped,
    since training would stop at them.

    Args:
        path: MusicBench_train.json or another of its files.
        writer: takes the questions.
        kinds: which of ``key``, ``tempo`` and ``time`` to ask.
        seed: of the choices, which the original drew unseeded.
        advance: told of progress.

    Raises:
        DataError: not MusicBench's file, or a line that is no JSON.
    """
    times: Counter[str] = Counter()
    num_rows = 0
    for number, row in read_lines(path, _format(kinds), advance):
        num_rows += 1
        for kind, location in _asked(row, number, kinds, writer):
            name = f"{kind}_{PurePosixPath(location).stem}"
            times[name] += 1
            try:
                rng = Random(f"{seed}/{name}/{times[name]}")
                choices, answer = compat_choices(kind, row, rng)
                question = {
                    "id": name,
                    "question": QUESTIONS[kind],
                    "choices": choices,
                    "answer": answer,
                    "audio": _clip(location, writer.audio),
                    "dataset": "MusicBench",
                    "kind": kind,
                    "location": location,
                }
                writer.add(question, number, may_repeat=True)
            except UnusableRowError as error:
                writer.skip(number, name, error.reason, error.detail)
    return num_rows
