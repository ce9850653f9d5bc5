"""MMAU's Parquet forms, row by row, as records with the official keys and their clips' bytes.

Two spellings are known. gamma-lab-umd: ``context`` (audio), ``instruction``, ``choices``,
``answer`` and ``other_attributes``, a JSON text with the rest. lmms-lab: ``audio``, ``question``,
``choices`` as a JSON text, and the rest in columns of its own. A few rows are in memory at a time.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

from keomni_rl.data.json_lines import NOT_JSON, decode_json
from keomni_rl.data.question_rows import refuse_large_batch
from keomni_rl.errors import DataError

AUDIO_COLUMNS = ("context", "audio")
QUESTION_COLUMNS = ("instruction", "question")
ATTRIBUTES = "other_attributes"
OFFICIAL = ("dataset", "task", "split", "category", "sub-category", "difficulty")
SHARD = re.compile(r"(.+)-\d+-of-\d+\.parquet")
"""A split's name and the number of a part of it."""
PLAIN_NAME = re.compile(r"[^/\\\0.][^/\\\0]*")
ROWS_AT_ONCE = 8
BUFFER_BYTES = 2**20
"""Read at a time of a column; without it a whole row group is in memory."""


class ParquetFiles:
    """The rows of one or several files of one split; iterate for (where, record, clip)."""

    def __init__(self, paths: Sequence[Path]) -> None:
        splits = sorted({found[1] for path in paths if (found := SHARD.fullmatch(path.name))})
        if len(splits) > 1:
            raise DataError(
                f"{paths[0].parent}: Parquet files of several splits ({', '.join(splits)}); name "
                f"those of one, for example {paths[0].parent / splits[0]}-*.parquet"
            )
        self._paths = paths
        self.num_rows = sum(map(_num_rows, paths))
        if not self.num_rows:
            raise DataError(f"{paths[0]}: holds no rows; download it again")

    def __iter__(self) -> Iterator[tuple[str, dict[str, Any], bytes | None]]:
        """Where the row is, for errors; its record, untidied; its clip, if it is embedded."""
        for path in self._paths:
            number = 0
            try:
                with _open(path) as file:
                    for batch in file.iter_batches(batch_size=ROWS_AT_ONCE):
                        refuse_large_batch(batch, f"{path}, row {number + 1}")
                        for row in batch.to_pylist():
                            number += 1
                            yield _record(row, f"{path}, row {number}")
            except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
                raise DataError(
                    f"{path}: damaged after row {number} ({error}); download it again"
                ) from error


def _num_rows(path: Path) -> int:
    with _open(path) as file:
        return int(file.metadata.num_rows)


def _open(path: Path) -> "pyarrow.parquet.ParquetFile":
    try:
        file = pyarrow.parquet.ParquetFile(path, pre_buffer=False, buffer_size=BUFFER_BYTES)
        names = set(file.schema_arrow.names)
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path}: not a Parquet file that can be read ({error}); download it again"
        ) from error
    is_known = (
        names & set(AUDIO_COLUMNS)
        and names & set(QUESTION_COLUMNS)
        and names >= {"choices", "answer"}
        and names & {ATTRIBUTES, "id"}
    )
    if not is_known:
        file.close()
        raise DataError(
            f"{path}: has the columns {', '.join(file.schema_arrow.names)}; wanted those of MMAU: "
            f"context, instruction, choices, answer, {ATTRIBUTES}"
        )
    return file


def _record(row: Mapping[str, Any], where: str) -> tuple[str, dict[str, Any], bytes | None]:
    attributes = _decoded(row.get(ATTRIBUTES) or {}, Mapping, ATTRIBUTES, where)
    rest = {"sub-category": row.get("sub_category", ""), **row, **attributes}
    if not isinstance(rest.get("id"), str) or not PLAIN_NAME.fullmatch(rest["id"]):
        raise DataError(
            f"{where}: the id is {rest.get('id')!r:.80}, wanted text that can name a file, in "
            f"{ATTRIBUTES} or a column"
        )
    record = {
        "id": rest["id"],
        "audio_id": f"{rest['id']}.wav",
        "question": _first(row, QUESTION_COLUMNS),
        "choices": _decoded(row["choices"], list, "choices", where),
        "answer": row["answer"],
        **{key: rest[key] for key in OFFICIAL if key in rest},
    }
    audio = _first(row, AUDIO_COLUMNS)
    content = audio.get("bytes") if isinstance(audio, Mapping) else audio
    return where, record, content if isinstance(content, bytes) else None


def _first(row: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next(row[name] for name in names if name in row)


def _decoded(value: Any, kind: type, name: str, where: str) -> Any:
    """A value that may be written as JSON text."""
    if isinstance(value, str):
        try:
            value = decode_json(value.encode())
        except NOT_JSON as error:
            raise DataError(f"{where}: {name} is not JSON ({error})") from error
    if not isinstance(value, kind):
        raise DataError(f"{where}: {name} is {value!r:.80}, wanted a {kind.__name__.lower()}")
    return value
