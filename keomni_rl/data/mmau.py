"""MMAU's official JSON: read, checked, its version recognised, predictions written in its form.

Source: Sakshi et al. 2024, arXiv 2410.19168. The benchmark's questions changed on 2025-05-15, so
a score means nothing without the version of the file it was taken on.
"""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from keomni_rl.data.audio_paths import resolve_audio
from keomni_rl.data.json_lines import NOT_JSON, decode_json, read_whole
from keomni_rl.data.question_rows import id_text, refuse_many_choices
from keomni_rl.errors import DataError
from keomni_rl.types import Prediction, Question

REQUIRED = ("id", "audio_id", "question", "choices", "task", "difficulty")
TASKS = ("sound", "music", "speech")
DIFFICULTIES = ("easy", "hard", "medium")
VERSIONS = {
    "3086e7e3c17d088c4a82c15c451ac5725c885ee4ada3d54d06fcdf966fd99166": "v05.15.25",
    "7d3599ca2e8e4fb974fc549f2076802d5de7b4e87bcf94dbfe7616788536f080": "2024-10",
}
"""SHA-256 over the sorted ids -> version of test-mini."""
TEXTS = {
    "8e9a2d07448b2e50f7165bceefcc67ec380ad431df7381e479f512a7ca3610b7": "v05.15.25",
    "cded6fe68a8c60ef2c1f414ad50600d6e7e1f5de595af57dd895866e5c27f749": "2024-10",
}
"""SHA-256 over ids, questions, choices and answers -> version: v05.15.25 as last corrected in
August 2025, and the file of 2024-10 to 2025-03."""
NUM_TEST = 9_000
"""Questions of the test split, whose answers are not published."""
AUDIO_FOLDERS = ("test-mini-audios", "test-audios")


def read_mmau(path: Path) -> list[Question]:
    """Read an official array.

    Each `Question.extra` keeps task, difficulty, sub-category, category (a list of them as one
    text) and, untouched, the whole record.

    Raises:
        DataError: not JSON, not an array of questions, or a question that cannot be scored.
    """
    root = path.parent.resolve()
    questions = [
        parse_record(record, root, f"{path}, entry {number}")
        for number, record in enumerate(read_array(path), start=1)
    ]
    refuse_repeated_ids(questions, path)
    return questions


def refuse_repeated_ids(questions: Sequence[Question], path: Path) -> None:
    """See that ids name one question each.

    Raises:
        DataError: one does not.
    """
    name, times = Counter(question.id for question in questions).most_common(1)[0]
    if times > 1:
        often = "twice" if times == 2 else f"{times} times"
        raise DataError(f"{path}: id {name!r:.80} occurs {often}")


def read_array(path: Path) -> list[Any]:
    """The entries of an official array, none of them looked at.

    Raises:
        DataError: no such file, not JSON or not an array.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file; give MMAU's JSON, for example mmau-test-mini.json")
    return decode_array(read_whole(path, "MMAU's official array"), str(path))


def decode_array(content: bytes, where: str) -> list[Any]:
    """The same of a file's content.

    Raises:
        DataError: not JSON or not an array.
    """
    try:
        records = decode_json(content)
    except NOT_JSON as error:
        raise DataError(f"{where}: not JSON ({error}); wanted MMAU's official array") from error
    if not isinstance(records, list) or not records:
        raise DataError(f"{where}: wanted a JSON array of questions as MMAU publishes it")
    return records


def parse_record(record: Any, root: Path, where: str) -> Question:
    """An official record as a `Question`.

    Args:
        record: the decoded entry.
        root: folder that its ``audio_id`` is relative to, and may not leave.
        where: file and entry, for errors.

    Raises:
        DataError: a key is missing or malformed.
    """
    if not isinstance(record, Mapping):
        raise DataError(f"{where}: wanted an object, got {record!r:.80}")
    if missing := [key for key in REQUIRED if key not in record]:
        raise DataError(f"{where}: no {missing[0]!r}; MMAU's entries have {', '.join(REQUIRED)}")
    name = id_text(record["id"], where)
    for key in ("question", "audio_id"):
        if not isinstance(record[key], str) or not record[key].strip():
            raise DataError(f"{where}: {key!r} is {record[key]!r:.80}, wanted text")
    choices = record["choices"]
    _check_choices(choices, where)
    answer = _answer(record)
    if answer is not None and answer not in choices:
        raise DataError(
            f"{where}: the answer {answer!r:.80} is not among the choices {choices!r:.200}"
        )
    if record["task"] not in TASKS or record["difficulty"] not in DIFFICULTIES:
        raise DataError(
            f"{where}: task {record['task']!r:.80}, difficulty {record['difficulty']!r:.80}; "
            f"wanted one of {TASKS} and of {DIFFICULTIES}"
        )
    return Question(
        id=name,
        question=record["question"],
        choices=tuple(choices),
        answer=answer,
        audio=str(_audio(record["audio_id"], root, where)),
        dataset="MMAU",
        extra={
            "task": record["task"],
            "difficulty": record["difficulty"],
            "sub-category": flat(record.get("sub-category")),
            "category": flat(record.get("category")),
            "record": dict(record),
        },
    )


def _check_choices(choices: Any, where: str) -> None:
    if not isinstance(choices, list) or not all(isinstance(choice, str) for choice in choices):
        raise DataError(f"{where}: 'choices' is {choices!r:.80}, wanted a list of texts")
    if len(choices) < 2:
        raise DataError(f"{where}: 'choices' is {choices!r:.80}, wanted a list of two or more")
    refuse_many_choices(choices, where)


def _answer(record: Mapping[str, Any]) -> Any:
    """A record's answer; None where the split keeps it back, by leaving it out or empty."""
    answer = record.get("answer")
    return None if answer == "" and "" not in record["choices"] else answer


def flat(category: Any) -> str:
    """A category, which may be a list of them, as some entries have it, or null, as one text."""
    if isinstance(category, list):
        return ", ".join(map(str, category))
    return "" if category is None else str(category)


def _audio(audio_id: str, root: Path, where: str) -> Path:
    """The clip beside the JSON; an author's absolute path, as one version had, by its name."""
    own = Path(audio_id)
    is_authors = own.is_absolute() or not os.path.exists(root / own)
    for folder in AUDIO_FOLDERS if is_authors else ():
        if os.path.exists(root / folder / own.name):
            return resolve_audio(f"{folder}/{own.name}", root, where)
    return resolve_audio(audio_id, root, where)


def find_version(questions: Sequence[Question]) -> str:
    """Which published file these questions are, told by their text.

    The version's name where text and ids are those of the published file; the name with ``, other
    text`` where the ids are but a question, an option or an answer is not; ``custom`` otherwise.
    """
    if len(questions) == NUM_TEST and all(q.answer is None for q in questions):
        return f"test ({NUM_TEST} questions without answers)"
    if known := TEXTS.get(text_digest(questions)):
        return known
    by_ids = detect_version(question.id for question in questions)
    return by_ids if by_ids == "custom" else f"{by_ids}, other text"


def text_digest(questions: Iterable[Question]) -> str:
    """SHA-256 over id, question, choices and answer of each question, in the order of ids."""
    lines = sorted(json.dumps([q.id, q.question, q.choices, q.answer]) for q in questions)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def detect_version(ids: Iterable[str]) -> str:
    """Which test-mini these ids are, or ``custom``."""
    return VERSIONS.get(ids_digest(ids), "custom")


def ids_digest(ids: Iterable[str]) -> str:
    """SHA-256 over sorted ids, one a line."""
    return hashlib.sha256("\n".join(sorted(ids)).encode(errors="replace")).hexdigest()


def write_predictions(
    path: Path, questions: Sequence[Question], predictions: Mapping[str, Prediction]
) -> None:
    """Write the official array with what was predicted; unanswered questions go without.

    The file is replaced whole; half a surrogate pair, which no file can hold, becomes a ``?``.
    """
    records = []
    for question in questions:
        record = dict(question.extra["record"])
        if prediction := predictions.get(question.id):
            record["model_output"] = prediction.model_output
            record["model_output_raw"] = prediction.model_output_raw
            record["finish_reason"] = prediction.finish_reason
            record["error"] = prediction.error
            if prediction.samples:
                record["samples"] = list(prediction.samples)
        records.append(record)
    text = json.dumps(records, indent=2, ensure_ascii=False) + "\n"
    aside = path.with_name(f".{path.name}.part")
    aside.write_text(text, encoding="utf-8", errors="replace")
    os.replace(aside, path)
