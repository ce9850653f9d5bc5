"""Rows of a file of questions, JSONL or Parquet, each with where it stands."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from keomni_rl.data.json_lines import read_json_lines
from keomni_rl.errors import DataError

REQUIRED = ("id", "question", "choices", "answer", "audio")
KNOWN = (*REQUIRED, "dataset")
MAX_LINE_BYTES = 2**20
ROWS_AT_ONCE = 1024


def read_rows(path: Path) -> Iterator[tuple[str, Any]]:
    """File and row, for errors, and what stands there, one at a time.

    Of Parquet, columns that JSON has no form for, such as bytes and times, are passed over.

    Raises:
        DataError: the file cannot be read, or a column that is needed is of such a type.
    """
    return _parquet_rows(path) if path.suffix == ".parquet" else _json_rows(path)


def _json_rows(path: Path) -> Iterator[tuple[str, Any]]:
    rows = read_json_lines(path, "one question a line", max_line_bytes=MAX_LINE_BYTES)
    return ((f"{path}, line {number}", row) for number, row in rows)


def _parquet_rows(path: Path) -> Iterator[tuple[str, Any]]:
    import pyarrow
    import pyarrow.parquet

    number = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            columns = _columns(file.schema_arrow, path)
            for batch in file.iter_batches(batch_size=ROWS_AT_ONCE, columns=columns):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{path}, row {number}", row
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        what = f"damaged after row {number}" if number else "not a Parquet file that can be read"
        raise DataError(f"{path}: {what} ({error}); write or copy it again") from error


def _columns(schema: Any, path: Path) -> list[str]:
    """The columns to read."""
    columns = []
    for field in schema:
        if _fits_json(field.type):
            columns.append(field.name)
        elif field.name in KNOWN:
            raise DataError(
                f"{path}, row 1: the column {field.name!r} is of the type {field.type}, wanted "
                f"{'a list of texts' if field.name == 'choices' else 'text'}; write it as that"
            )
    return columns


def _fits_json(kind: Any) -> bool:
    import pyarrow.types as of

    if of.is_dictionary(kind):
        return _fits_json(kind.value_type)
    if of.is_nested(kind):
        return all(_fits_json(kind.field(number).type) for number in range(kind.num_fields))
    is_number = of.is_integer(kind) or of.is_floating(kind)
    is_text = of.is_string(kind) or of.is_large_string(kind) or of.is_string_view(kind)
    return is_number or is_text or of.is_boolean(kind) or of.is_null(kind)
