"""Makes MMAU's official array, with its clips beside it, of any of its published forms.

What a form adds is taken away again (letters before options, lists around categories, authors'
paths, MP3 streams under the name of a wav); what is odd in the questions themselves stays, counted
and named. Every file is written aside and renamed, the array last, so that a call that was cut off
leaves nothing partial and is simply made again.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from keomni_rl.data.mmau import (
    AUDIO_FOLDERS,
    find_version,
    flat,
    parse_record,
    refuse_repeated_ids,
)
from keomni_rl.data.prepare.mmau_clips import ClipFolder
from keomni_rl.data.prepare.mmau_sources import Entry, Source, clip_name
from keomni_rl.errors import DataError
from keomni_rl.types import Question

FILES = ("mmau-test-mini.json", "mmau-test.json")
LETTER = re.compile(r"^\(([A-Z])\) ?")
LETTERED = "option letters taken off"
LISTED = "category was a list"
REPEATED = "an option occurs twice"
SPACED = "space around an option"
ANSWERLESS = "left out: the answer is not among the choices"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What was written, and what was found on the way."""

    file: Path
    version: str
    by_task: Mapping[str, int]
    odd: Mapping[str, Sequence[str]]
    """What was odd -> ids of the questions, in order."""
    notes: Path
    """The same as a file."""


class _Notes:
    """Ids by what is odd about them."""

    def __init__(self) -> None:
        self._ids: dict[str, list[tuple[int, str]]] = {}

    def add(self, what: str, entry: Entry) -> None:
        self._ids.setdefault(what, []).append((entry.position, str(entry.record["id"])))

    def in_order(self) -> dict[str, list[str]]:
        most_first = sorted(self._ids.items(), key=lambda item: -len(item[1]))
        return {what: [name for _, name in sorted(ids)] for what, ids in most_first}


def prepare_mmau(
    source: Source, out: Path, *, advance: Callable[[int], object] = lambda _: None
) -> Prepared:
    """Write the official array and its clips.

    Args:
        source: from `open_source`.
        out: folder to write to; made if need be.
        advance: told of every entry that is done.

    Raises:
        DataError: an entry is malformed, an id is used twice, only some entries have an answer,
            there is no clip at all, or the source itself is damaged. Clips already written stay.
    """
    first = next(source.entries)
    is_test = first.record.get("answer") in (None, "")
    file, folder = out / FILES[is_test], AUDIO_FOLDERS[is_test]
    if any(file.resolve() == path.resolve() for path in source.paths):
        raise DataError(f"--out {out}: would overwrite {file}; give another folder")
    notes = _Notes()
    done: dict[int, tuple[dict[str, Any], Question]] = {}
    with ClipFolder(out / folder) as clips:
        for entry in chain([first], source.entries):
            advance(1)
            if (record := _tidy(entry, folder, notes)) is None:
                continue
            done[entry.position] = record, parse_record(record, out.resolve(), entry.where)
            if found := clips.write(Path(record["audio_id"]).name, entry.clip):
                notes.add(found, entry)
        if not done:
            raise DataError(f"{first.where} and every other: the answer is not among the choices")
        if not clips.num_written:
            raise DataError(
                f"{source.paths[0]}: not one clip of its {source.num_questions} questions was "
                "found; give their folder or archive with --audio"
            )
        in_order = [done[position] for position in sorted(done)]
        questions = [question for _, question in in_order]
        refuse_repeated_ids(questions, source.paths[0])
        _refuse_mixture(questions, source, is_test=is_test)
        text = json.dumps([record for record, _ in in_order], indent=2, ensure_ascii=False)
        odd = notes.in_order()
        clips.put(file.with_suffix(".notes.json"), json.dumps(odd, indent=2).encode() + b"\n")
        clips.put(file, text.encode(errors="replace") + b"\n")
    return Prepared(
        file=file,
        version=find_version(questions),
        by_task=dict(Counter(question.extra["task"] for question in questions).most_common()),
        odd=odd,
        notes=file.with_suffix(".notes.json"),
    )


def _refuse_mixture(questions: Sequence[Question], source: Source, *, is_test: bool) -> None:
    num_open = sum(question.answer is None for question in questions)
    if num_open != (len(questions) if is_test else 0):
        raise DataError(
            f"{source.paths[0]}: {num_open} entries come without an answer and "
            f"{source.num_questions - num_open} with one; wanted one split, test-mini (all have "
            "one) or test (none has)"
        )


def _tidy(entry: Entry, folder: str, notes: _Notes) -> dict[str, Any] | None:
    """The record as the official array has it; None if its answer is no choice."""
    record = dict(entry.record)
    choices = record.get("choices")
    if isinstance(choices, list) and all(isinstance(choice, str) for choice in choices):
        if (stripped := without_letters(choices, record.get("answer"))) is not None:
            notes.add(LETTERED, entry)
            choices, answer = stripped
            record |= {"choices": choices, "answer": answer}
        if len(set(choices)) < len(choices):
            notes.add(REPEATED, entry)
        if any(choice != choice.strip() for choice in choices):
            notes.add(SPACED, entry)
        if record.get("answer") and record["answer"] not in choices:
            notes.add(ANSWERLESS, entry)
            return None
    if isinstance(record.get("category"), list):
        notes.add(LISTED, entry)
        record["category"] = flat(record["category"])
    return record | {"audio_id": f"./{folder}/{clip_name(record['audio_id'])}"}


def without_letters(choices: Sequence[str], answer: Any) -> tuple[list[str], Any] | None:
    """Options and answer without (A), (B), (C) before them.

    Returns:
        None unless every option carries its own letter and more, so that an option which only
        happens to begin with a bracket stays as it is.
    """
    letters = [found[1] if (found := LETTER.match(choice)) else "" for choice in choices]
    if not letters or letters != [chr(ord("A") + number) for number in range(len(choices))]:
        return None
    bare = [LETTER.sub("", choice) for choice in choices]
    if not all(map(str.strip, bare)):
        return None
    return bare, LETTER.sub("", answer) if isinstance(answer, str) else answer
