"""Files of predictions as they were written: one JSON array, or one object a line."""

import codecs
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from keomni_rl.data.json_lines import NOT_JSON, decode_json, read_whole
from keomni_rl.data.question_rows import id_text
from keomni_rl.errors import DataError
from keomni_rl.evaluation.judge import named

OUTPUT_KEYS = ("model_output", "model_prediction")
"""What the official script reads, now and before 2025; R1-AQA still writes the second."""
RAW_KEYS = ("model_output_raw", "model_output_ori")
"""The whole completion; the second as both seed systems write it."""
PREDICTED = (*OUTPUT_KEYS, *RAW_KEYS, "finish_reason", "error", "num_tokens", "policy_version")
COMPARED = ("question", "choices", "answer")


class Record(NamedTuple):
    """One entry of a file, and where it stands there."""

    where: str
    fields: Mapping[str, Any]
    asked: str = ""
    """Where its question stands, if that is in another file."""

    @property
    def question_where(self) -> str:
        """For what is wrong with the question."""
        return self.asked or self.where


def read_records(path: Path) -> list[Record]:
    """Read an array (``.json``) or lines (``.jsonl``); which of them, the content tells.

    A last line without its end, as a kill leaves it, is left out.

    Raises:
        DataError: no such file, not JSON, or an entry that is no object.
    """
    if os.path.isdir(path):
        raise DataError(f"{path}: a folder; name the file of predictions or questions in it")
    if not os.path.exists(path):
        raise DataError(f"{path}: no such file; wanted predictions or questions as JSON")
    content = read_whole(path, "predictions or questions").removeprefix(codecs.BOM_UTF8)
    try:
        content.decode()
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not a text file ({error}); wanted JSON in UTF-8") from error
    _refuse_one_object(path, content)
    decoded = _array(path, content) if content.lstrip().startswith(b"[") else _lines(path, content)
    records = [Record(where, fields) for where, fields in decoded]
    for record in records:
        if not isinstance(record.fields, Mapping):
            raise DataError(f"{record.where}: wanted an object, got {record.fields!r:.80}")
    if not records:
        raise DataError(f"{path}: holds no entries; wanted MMAU's array with predictions")
    return records


def _refuse_one_object(path: Path, content: bytes) -> None:
    """Predictions by id, or under a key, are no form that any tool writes or reads."""
    try:
        whole = decode_json(content) if content.lstrip().startswith(b"{") else None
    except NOT_JSON:  # several lines, or what is wrong with one is told later
        return
    if isinstance(whole, dict) and "id" not in whole:
        raise DataError(
            f"{path}: one object with {named([repr(key) for key in whole]) or 'nothing in it'}; "
            "wanted MMAU's array, or one object a line, each entry with its 'id'"
        )


def _array(path: Path, content: bytes) -> Iterator[tuple[str, Any]]:
    try:
        entries = decode_json(content)
    except NOT_JSON as error:
        raise DataError(f"{path}: not JSON ({error}); wanted MMAU's array") from error
    for number, entry in enumerate(entries, start=1):
        yield f"{path}, entry {number}", entry


def _lines(path: Path, content: bytes) -> Iterator[tuple[str, Any]]:
    lines = content.split(b"\n")
    for number, line in enumerate(lines, start=1):
        where = f"{path}, line {number}"
        if not line.strip():
            continue
        try:
            yield where, decode_json(line)
        except NOT_JSON as error:
            if number == len(lines) > 1:
                return
            raise DataError(
                f"{where}: not a JSON object ({error}); wanted MMAU's array, or one object a line"
            ) from error


def check_key(path: Path, records: Sequence[Record], key: str) -> None:
    """See that there is something to judge under ``key``.

    Raises:
        DataError: no entry has it, and the message names the key that is there instead; or it is
            no prediction's.
    """
    if key in COMPARED:
        raise DataError(f"{path}: --key {key} is the question's own {key}; name what was predicted")
    if any(record.fields.get(key) is not None for record in records):
        return
    for other in OUTPUT_KEYS:
        num = sum(record.fields.get(other) is not None for record in records)
        if num and other != key:
            raise DataError(
                f"{path}: no entry has a {key!r}, but {num} have a {other!r}; add --key {other}"
            )
    raise DataError(
        f"{path}: none of {len(records)} entries has a {key!r} to judge; name the key that holds "
        "the answers with --key"
    )


def join(
    records: Sequence[Record], questions: Sequence[Record], key: str
) -> tuple[list[Record], list[str]]:
    """Put predictions to another copy of their questions, in that copy's order.

    Args:
        records: what was predicted, by id.
        questions: the copy; predictions in it are ignored.
        key: of the predicted answer.

    Returns:
        The joined records, and what the reader should know: how many questions differ.

    Raises:
        DataError: an id occurs twice, or predictions are for none of these questions.
    """
    said, asked = by_id(records), by_id(questions)
    if others := [i for i in said if i not in asked]:
        raise DataError(
            f"{said[others[0]].where}: {len(others)} of {len(said)} predictions are for other "
            f"questions: {named(others)}; give the questions they were made for"
        )
    kept = {key, "samples", *PREDICTED}
    joined = []
    for i, question in asked.items():
        fields = {k: v for k, v in question.fields.items() if k not in kept}
        if i in said:
            fields |= {k: v for k, v in said[i].fields.items() if k in kept}
        joined.append(Record(said.get(i, question).where, fields, asked=question.where))
    return joined, _differences(said, asked)


def by_id(records: Sequence[Record]) -> dict[str, Record]:
    """Records by their id.

    Raises:
        DataError: one has no id, or an id occurs twice.
    """
    found: dict[str, Record] = {}
    for record in records:
        if record.fields.get("id") is None:
            raise DataError(f"{record.where}: no 'id'; wanted the question's")
        i = id_text(record.fields["id"], record.where)
        if i in found:
            raise DataError(
                f"{record.where}: id {i!r:.80} occurs twice (before: {found[i].where}); wanted one "
                "prediction a question"
            )
        found[i] = record
    return found


def _differences(said: Mapping[str, Record], asked: Mapping[str, Record]) -> list[str]:
    pairs = [(said[i].fields, asked[i].fields) for i in said]
    num = {k: sum(k in a and a[k] != b.get(k) for a, b in pairs) for k in COMPARED}
    if not any(num.values()):
        return []
    differing = sum(any(k in a and a[k] != b.get(k) for k in COMPARED) for a, b in pairs)
    return [
        f"{differing} of {len(pairs)} questions differ from the predictions' own copy (text "
        f"{num['question']}, choices {num['choices']}, answer {num['answer']}): another version of "
        "MMAU; judged by the questions that were given"
    ]
