"""AudioMCQ's manifest to training questions.

AudioMCQ (He et al. 2025, arXiv 2509.21060) and its subset AudioMCQ-StrongAC-GeminiCoT, whose
questions cannot be answered without listening, come as one folder: the sound files by source and a
JSON Lines manifest, ``data.jsonl``, of ``source_dataset, id, question_type, audio_path`` (relative
to the manifest), ``question, choices, answer`` (the text of one choice) and chains of thought.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keomni_rl.data.prepare.audio_folder import AudioFolder
from keomni_rl.data.prepare.question_writer import QuestionWriter
from keomni_rl.data.prepare.raw_rows import (
    MALFORMED,
    Advance,
    RawFormat,
    UnusableRowError,
    read_lines,
    wanted_choices,
    wanted_id,
    wanted_object,
    wanted_text,
)
from keomni_rl.errors import DataError

FORMAT = RawFormat("AudioMCQ", ("id", "audio_path", "question", "choices", "answer"))
KIND_KEY = "question_type"
MANIFEST = "data.jsonl"
CONTRIBUTION = "audio-contribution"
"""Column of the full set: ``strong`` where at least two models failed without the sound."""


def find_manifest(path: Path) -> Path:
    """The manifest itself, or the one in a downloaded folder.

    Raises:
        DataError: the folder has none.
    """
    if not path.is_dir():
        return path
    if not (path / MANIFEST).is_file():
        raise DataError(f"{path}: holds no {MANIFEST}; give AudioMCQ's manifest or its folder")
    return path / MANIFEST


def convert_audiomcq(
    path: Path,
    writer: QuestionWriter,
    *,
    all_contributions: bool = False,
    advance: Advance = lambda _: None,
) -> int:
    """Give a writer the questions of a manifest, in order; return how many rows it has.

    Args:
        path: the manifest.
        writer: takes the questions.
        all_contributions: keep questions that models answered without the sound; a manifest
            without such a column is of strong ones only.
        advance: told of progress.

    Raises:
        DataError: not such a manifest, or a line that is no JSON.
    """
    num_rows = 0
    for number, row in read_lines(path, FORMAT, advance):
        num_rows += 1
        try:
            writer.add(_question(row, writer.audio, all_contributions=all_contributions), number)
        except UnusableRowError as error:
            name = str(row.get("id", "")) if isinstance(row, dict) else ""
            writer.skip(number, name, error.reason, error.detail)
    return num_rows


def _question(row: Any, audio: AudioFolder, *, all_contributions: bool) -> dict[str, Any]:
    row = wanted_object(row)
    contribution = row.get(CONTRIBUTION, "strong")
    if contribution != "strong" and not all_contributions:
        raise UnusableRowError("not of strong audio contribution", f"it is {contribution!r:.80}")
    choices = wanted_choices(row, "choices")
    answer = wanted_text(row, "answer")
    if answer not in choices:
        raise UnusableRowError(MALFORMED, f"the answer {answer!r} is not among {choices!r}")
    question = {
        "id": _id(row),
        "question": wanted_text(row, "question"),
        "choices": choices,
        "answer": answer,
        "audio": audio.find(wanted_text(row, "audio_path")),
        "dataset": "AudioMCQ",
    }
    return question | {k: v for k, v in row.items() if k not in {"audio_path", *question}}


def _id(row: Mapping[str, Any]) -> str:
    parts = ("audiomcq", row.get("source_dataset"), wanted_id(row))
    return "_".join(str(part) for part in parts if part is not None)
