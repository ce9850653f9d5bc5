"""AVQA's JSON to training questions, filtered as Ke-Omni-R meant to, or unfiltered as R1-AQA.

AVQA asks about videos (Yang et al. 2022, ACM Multimedia, "AVQA: A Dataset for Audio-Visual Question
Answering on Videos"); both seeds keep the sound alone and put "audio" for "video" in the question.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keomni_rl.data.prepare.audio_folder import AudioFolder, with_suffixes
from keomni_rl.data.prepare.question_writer import QuestionWriter
from keomni_rl.data.prepare.raw_rows import (
    MALFORMED,
    Advance,
    RawFormat,
    UnusableRowError,
    read_array,
    wanted_choices,
    wanted_id,
    wanted_object,
    wanted_text,
)

FORMAT = RawFormat("AVQA", ("id", "video_name", "question_text", "multi_choice", "answer"))
FILTERED_FORMAT = RawFormat("AVQA", (*FORMAT.required, "question_relation"))
KIND_KEY = "question_relation"
COLOUR = re.compile("colou?r", re.IGNORECASE)
"""Ke-Omni-R looked for "color" as it stands; meant are all questions about colour."""
START = re.compile(r"(?P<video>.+)_(?P<second>\d{1,9})")
"""A video's name ends in the second that its clip starts at."""
REPLACED = ("id", "multi_choice", "answer")
"""Raw keys that the training format says otherwise; all others are kept."""


def convert_avqa(
    path: Path,
    writer: QuestionWriter,
    *,
    all_relations: bool = False,
    advance: Advance = lambda _: None,
) -> int:
    """Give a writer the questions of AVQA's JSON, in order; return how many entries it has.

    Skipped are, by default, questions for which seeing is enough (``question_relation`` "View",
    in any letter case) and questions about colour: "color" or "colour" anywhere in the question,
    in any letter case. The options keep their order. An entry that is malformed, or whose clip is
    missing, is skipped too.

    Args:
        path: train_qa.json or val_qa.json.
        writer: takes the questions.
        all_relations: skip neither kind, as R1-AQA did.
        advance: told of progress.

    Raises:
        DataError: not AVQA's file.
    """
    rows = read_array(path, FORMAT if all_relations else FILTERED_FORMAT)
    for number, row in enumerate(rows, start=1):
        advance(1 / len(rows))
        try:
            writer.add(_question(row, writer.audio, all_relations=all_relations), number)
        except UnusableRowError as error:
            name = str(row.get("id", "")) if isinstance(row, dict) else ""
            writer.skip(number, name, error.reason, error.detail)
    return len(rows)


def _question(row: Any, audio: AudioFolder, *, all_relations: bool) -> dict[str, Any]:
    row = wanted_object(row)
    text = wanted_text(row, "question_text")
    if not all_relations:
        _refuse_what_needs_eyes(row, text)
    choices = wanted_choices(row, "multi_choice")
    question = {
        "id": f"avqa_{wanted_id(row)}",
        "question": text.replace("video", "audio"),
        "choices": choices,
        "answer": _answer(row, choices),
        "audio": audio.find(*clip_names(wanted_text(row, "video_name"))),
        "dataset": "AVQA",
    }
    return question | {k: v for k, v in row.items() if k not in {*REPLACED, *question}}


def _refuse_what_needs_eyes(row: Mapping[str, Any], text: str) -> None:
    if wanted_text(row, "question_relation").casefold() == "view":
        raise UnusableRowError("view only", text)
    if COLOUR.search(text):
        raise UnusableRowError("about colour", text)


def _answer(row: Mapping[str, Any], choices: list[str]) -> str:
    index = row.get("answer")
    if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < len(choices):
        raise UnusableRowError(
            MALFORMED, f"'answer' is {index!r:.80}, wanted an index into {len(choices)} choices"
        )
    return choices[index]


def clip_names(video_name: str) -> list[str]:
    """The names that a clip may have: the start padded to six digits, or not padded.

    Example:
        "-HG3Omg_89c_000030" -> "-HG3Omg_89c_000030.wav", ..., "-HG3Omg_89c_30.wav", ...
    """
    stems = [video_name]
    if parts := START.fullmatch(video_name):
        second = int(parts["second"])
        stems += [f"{parts['video']}_{second}", f"{parts['video']}_{second:06d}"]
    return [name for stem in dict.fromkeys(stems) for name in with_suffixes(stem)]
