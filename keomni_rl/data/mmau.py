"""MMAU's official JSON: read, checked, its version recognised, predictions written in its form.

Source: Sakshi et al. 2024, arXiv 2410.19168. The benchmark's questions changed on 2025-05-15, so
a score means nothing without the version of the file it was taken on.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

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


def read_mmau(path: Path) -> list[Question]:
    """Read an official array; each `Question.extra` keeps task, difficulty and the whole record.

    Raises:
        DataError: not JSON, not an array of questions, or a question that cannot be scored.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file; give MMAU's JSON, for example mmau-test-mini.json")
    try:
        records = json.loads(path.read_text(encoding="utf-8-sig"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not JSON ({error}); wanted MMAU's official array") from error
    if not isinstance(records, list) or not records:
        raise DataError(f"{path}: wanted a JSON array of questions as MMAU publishes it")
    root = path.parent.resolve()
    questions = [_question(r, root, f"{path}, entry {n}") for n, r in enumerate(records, start=1)]
    ids = [question.id for question in questions]
    if len(set(ids)) != len(ids):
        twice = next(i for i in ids if ids.count(i) > 1)
        raise DataError(f"{path}: id {twice!r} occurs twice")
    return questions


def _question(record: Any, root: Path, where: str) -> Question:
    if not isinstance(record, Mapping):
        raise DataError(f"{where}: wanted an object, got {record!r:.80}")
    if missing := [key for key in REQUIRED if key not in record]:
        raise DataError(f"{where}: no {missing[0]!r}; MMAU's entries have {', '.join(REQUIRED)}")
    choices, answer = record["choices"], record.get("answer")
    if not isinstance(choices, list) or len(choices) < 2:
        raise DataError(f"{where}: 'choices' is {choices!r:.80}, wanted a list of two or more")
    if answer is not None and answer not in choices:
        raise DataError(f"{where}: the answer {answer!r} is not among the choices {choices!r}")
    if record["task"] not in TASKS or record["difficulty"] not in DIFFICULTIES:
        raise DataError(
            f"{where}: task {record['task']!r}, difficulty {record['difficulty']!r}; wanted one of "
            f"{TASKS} and of {DIFFICULTIES}"
        )
    return Question(
        id=str(record["id"]),
        question=record["question"],
        choices=tuple(choices),
        answer=answer,
        audio=str(_audio(str(record["audio_id"]), root, where)),
        dataset="MMAU",
        extra={
            "task": record["task"],
            "difficulty": record["difficulty"],
            "sub-category": record.get("sub-category", ""),
            "record": dict(record),
        },
    )


def _audio(audio_id: str, root: Path, where: str) -> Path:
    """The clip beside the JSON; an author's absolute path, as one version had, by its name."""
    path = (root / audio_id).resolve()
    if path.is_relative_to(root) and path.exists():
        return path
    by_name = root / "test-mini-audios" / Path(audio_id).name
    if by_name.exists():
        return by_name.resolve()
    if not path.is_relative_to(root):
        raise DataError(f"{where}: audio_id {audio_id!r} lies outside {root}")
    return path


def detect_version(ids: Iterable[str]) -> str:
    """Which test-mini these ids are, or ``custom``."""
    return VERSIONS.get(ids_digest(ids), "custom")


def ids_digest(ids: Iterable[str]) -> str:
    """SHA-256 over sorted ids, one a line."""
    return hashlib.sha256("\n".join(sorted(ids)).encode()).hexdigest()


def write_predictions(
    path: Path, questions: Sequence[Question], predictions: Mapping[str, Prediction]
) -> None:
    """Write the official array with what was predicted; unanswered questions go without."""
    records = []
    for question in questions:
        record = dict(question.extra["record"])
        if prediction := predictions.get(question.id):
            record["model_output"] = prediction.model_output
            record["model_output_raw"] = prediction.model_output_raw
            record["finish_reason"] = prediction.finish_reason
            record["error"] = prediction.error
        records.append(record)
    path.write_text(json.dumps(records, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
