"""Predictions and their questions, out of any file that holds them, checked entry by entry."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from keomni_rl.data.prompts import ANSWER
from keomni_rl.data.question_rows import refuse_many_choices
from keomni_rl.errors import DataError
from keomni_rl.evaluation.judge import has_answers, named
from keomni_rl.evaluation.records import RAW_KEYS, Record, by_id, check_key, join, read_records
from keomni_rl.types import Prediction, Question

PREDICTION = TypeAdapter(Prediction)
PREFIX = re.compile(r"\([A-Z]\) ")


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionFile:
    """A file of predictions with the questions they answer."""

    questions: tuple[Question, ...]
    predictions: dict[str, Prediction]
    """By question id; questions without one are missing here."""
    notes: tuple[str, ...]
    """What a reader of the score should know of the file."""


def read_prediction_file(path: Path, *, key: str, questions: Path | None = None) -> PredictionFile:
    """Read predictions, with the questions beside them or in a file of their own.

    Args:
        path: the official array with predictions, or predictions one a line.
        key: of the predicted (extracted) answer.
        questions: another copy of the questions to judge by.

    Raises:
        DataError: a file cannot be read, an entry is malformed, or the two do not belong together.
    """
    records, notes = read_joined(path, key=key, questions=questions)
    asked = tuple(_question(record) for record in by_id(records).values())
    try:
        has_answers(asked)
    except DataError as error:
        raise DataError(f"{questions or path}: {error}") from error
    said = [r for r in records if r.fields.get(key) is not None]
    predictions = {str(r.fields["id"]): parse_prediction(r.fields, r.where, key) for r in said}
    notes += _oddities(asked, predictions, key)
    return PredictionFile(questions=asked, predictions=predictions, notes=tuple(notes))


def read_joined(path: Path, *, key: str, questions: Path | None) -> tuple[list[Record], list[str]]:
    """Entries that hold a question and, if there is one, its prediction; and notes on them.

    Raises:
        DataError: as for `read_prediction_file`.
    """
    records = read_records(path)
    check_key(path, records, key)
    if questions is not None:
        asked = read_records(questions)
        if not _hold_questions(asked):
            raise DataError(f"{questions}: holds no questions; wanted MMAU's JSON")
        return join(records, asked, key)
    if not _hold_questions(records):
        raise DataError(
            f"{path}: holds predictions without their questions; add --questions with MMAU's JSON"
        )
    return records, []


def _hold_questions(records: Sequence[Record]) -> bool:
    return any("choices" in record.fields for record in records)


def parse_prediction(
    record: Mapping[str, Any], where: str, key: str = "model_output"
) -> Prediction:
    """One prediction as any of the tools writes it.

    Args:
        record: with ``id`` and the extracted answer under ``key``; more where it is known.
        where: file and line, for errors.
        key: of the extracted answer.

    Raises:
        DataError: something is of another type than it should be.
    """
    known = {f.name: record[f.name] for f in fields(Prediction) if record.get(f.name) is not None}
    raw = next((record[name] for name in RAW_KEYS if record.get(name) is not None), "")
    known |= {"id": str(record.get("id")), "model_output": record.get(key), "model_output_raw": raw}
    try:
        return PREDICTION.validate_python({"finish_reason": "", **known})
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        name = {"model_output": key}.get(name, name)
        wanted = "wanted text" if first["type"] == "string_type" else first["msg"]
        raise DataError(f"{where}: {name!r} is {first['input']!r:.80}; {wanted}") from error


def _question(record: Record) -> Question:
    """A question as far as scoring needs it; its sound is not looked for."""
    fields, where = record.fields, record.question_where
    choices, answer = fields.get("choices"), fields.get("answer")
    if not isinstance(choices, list) or len(choices) < 2 or not _are_texts(choices):
        raise DataError(
            f"{where}: 'choices' is {choices!r:.80}, wanted a list of two texts or more"
        )
    refuse_many_choices(choices, where)
    if answer is not None and not isinstance(answer, str):
        raise DataError(f"{where}: 'answer' is {answer!r:.80}, wanted one of the choices")
    labels = {name: fields.get(name) or "" for name in ("task", "difficulty")}
    for name, label in labels.items():
        if not isinstance(label, str):
            raise DataError(f"{where}: {name!r} is {label!r:.80}, wanted text or nothing")
    return Question(
        id=str(fields["id"]),
        question=str(fields.get("question", "")),
        choices=tuple(choices),
        answer=answer or None,
        audio=str(fields.get("audio_id", "")),
        dataset="MMAU",
        extra={
            **labels,
            "sub-category": str(fields.get("sub-category") or ""),
            "record": dict(fields),
        },
    )


def _are_texts(values: Sequence[Any]) -> bool:
    return all(isinstance(value, str) for value in values)


def _oddities(
    questions: Sequence[Question], predictions: Mapping[str, Prediction], key: str
) -> list[str]:
    notes = []
    if missing := [q.id for q in questions if q.id not in predictions]:
        notes.append(
            f"{len(missing)} of {len(questions)} questions have no {key!r} and count as wrong: "
            f"{named(missing)}"
        )
    if foreign := [q.id for q in questions if q.answer is not None and q.answer not in q.choices]:
        notes.append(f"{len(foreign)} answers are none of their choices: {named(foreign)}")
    if tagged := sum(ANSWER[0] in p.model_output for p in predictions.values()):
        notes.append(
            f"{tagged} of {len(predictions)} answers still hold {ANSWER[0]}; the official verdict "
            "reads all of such a text, so take the answer out of its tags first"
        )
    if predictions and not any(p.model_output_raw for p in predictions.values()):
        notes.append(
            f"no whole completions ({' or '.join(RAW_KEYS)}): format, think length and NeMo-RL's "
            "match are left out"
        )
    if all(PREFIX.match(choice) for q in questions for choice in q.choices):
        notes.append(
            "all choices begin with a letter in brackets, which the official verdict then wants in "
            "the answer; `keomni-rl prepare mmau` takes them off"
        )
    return notes
