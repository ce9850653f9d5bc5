"""Rows of a file of questions, JSONL or Parquet, each with where it stands."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from keomni_rl.data.json_lines import read_json_lines
from keomni_rl.errors import DataError

REQUIRED = ("id", "question", "choices", "answer", "audio")
KNOWN = (*REQUIRED, "dataset")
MAX_LINE_BYTES = 2**20
MAX_CHOICES = 100
"""Of one question: how an answer is read takes their number squared."""
ROWS_AT_ONCE = 256
MAX_BATCH_BYTES = 2**28
"""Of Parquet's rows that are read at once; a text that repeats takes no room in the file."""


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
                refuse_large_batch(batch, f"{path}, row {number + 1}")
                for row in batch.to_pylist():
                    number += 1
                    yield f"{path}, row {number}", row
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        what = f"damaged after row {number}" if number else "not a Parquet file that can be read"
        raise DataError(f"{path}: {what} ({error}); write or copy it again") from error


def refuse_large_batch(batch: Any, where: str) -> None:
    """See that rows of Parquet may be turned into objects.

    Args:
        batch: of pyarrow.
        where: file and first row, for errors.

    Raises:
        DataError: they hold too much.
    """
    num_bytes = batch.nbytes + batch.num_rows * sum(map(_longest_shared, batch.columns))
    if num_bytes > MAX_BATCH_BYTES:
        raise DataError(
            f"{where}: it and the {batch.num_rows - 1} after it hold {num_bytes} bytes, over "
            f"the limit of {MAX_BATCH_BYTES}; wanted rows of a question each"
        )


def _longest_shared(column: Any) -> int:
    """Bytes of the longest text that rows of a column have in common, where it keeps such."""
    import pyarrow
    import pyarrow.compute

    if not pyarrow.types.is_dictionary(column.type):
        return 0
    shared = column.dictionary.cast(pyarrow.large_string())
    return pyarrow.compute.max(pyarrow.compute.binary_length(shared)).as_py() or 0


def refuse_many_choices(choices: Sequence[str], where: str) -> None:
    """Hold a question to `MAX_CHOICES`.

    Raises:
        DataError: it has more.
    """
    if len(choices) > MAX_CHOICES:
        raise DataError(f"{where}: {len(choices)} choices, wanted at most {MAX_CHOICES}")


def id_text(value: Any, where: str) -> str:
    """An id as text.

    Raises:
        DataError: it is neither text nor a whole number.
    """
    if not isinstance(value, (str, int)) or isinstance(value, bool):
        raise DataError(f"{where}: 'id' is {value!r:.80}, wanted text or a whole number")
    return str(value)


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
        return not of.is_nested(kind.value_type) and _fits_json(kind.value_type)
    if of.is_nested(kind):
        inner = [kind.field(number).type for number in range(kind.num_fields)]
        return not any(map(of.is_dictionary, inner)) and all(map(_fits_json, inner))
    is_number = of.is_integer(kind) or of.is_floating(kind)
    is_text = of.is_string(kind) or of.is_large_string(kind) or of.is_string_view(kind)
    return is_number or is_text or of.is_boolean(kind) or of.is_null(kind)
