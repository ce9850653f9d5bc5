"""JSON from strangers, read within bounds: JSON Lines row by row, and whole files up to a size.

What a file holds may be damaged or made to do harm, so a line, a whole file and the depth of a
value have limits far beyond what questions and predictions need.
"""

import codecs
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from keomni_rl.errors import DataError

NOT_JSON = (ValueError, RecursionError)
"""What `decode_json` raises: a number of over 4,300 digits is a plain ValueError."""
DECODER = json.JSONDecoder(parse_constant=lambda _: None)
MAX_DEPTH = 64
"""Lists and objects within each other; beyond some hundreds nothing could write them again."""
MAX_FILE_BYTES = 2**29
"""Of a file that is read as a whole; a value in memory takes several times that."""
PARQUET = b"PAR1"


def decode_json(content: bytes) -> Any:
    """The value of a JSON text in UTF-8; ``NaN`` and ``Infinity``, which JSON has not, are null.

    Raises:
        ValueError, RecursionError: it is no JSON, or nested more than `MAX_DEPTH` deep.
    """
    value = DECODER.decode(content.decode("utf-8-sig"))
    layer = [value]
    for _ in range(MAX_DEPTH):
        layer = [inner for outer in layer for inner in _parts(outer)]
        if not layer:
            return value
    raise ValueError(f"nested more than {MAX_DEPTH} deep")


def _parts(value: Any) -> Iterator[Any]:
    """The lists and objects in a list or an object."""
    if isinstance(value, (list, dict)):
        inner = value.values() if isinstance(value, dict) else value
        yield from (part for part in inner if isinstance(part, (list, dict)))


def read_whole(path: Path, wanted: str) -> bytes:
    """The content of a file that is decoded in one piece.

    Args:
        path: of the file.
        wanted: what it should be, for errors.

    Raises:
        DataError: it cannot be read, or holds more than `MAX_FILE_BYTES`.
    """
    try:
        with path.open("rb") as file:
            num_bytes = os.fstat(file.fileno()).st_size
            if num_bytes > MAX_FILE_BYTES:
                raise DataError(
                    f"{path}: {num_bytes} bytes, over the limit of {MAX_FILE_BYTES}; wanted "
                    f"{wanted}, so take it apart if it is one"
                )
            return file.read()
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror or error}); give {wanted}"
        ) from error


def read_json_lines(
    path: Path,
    wanted: str,
    *,
    max_line_bytes: int,
    advance: Callable[[float], object] = lambda _: None,
) -> Iterator[tuple[int, Any]]:
    """Line number, from 1, and what stands there, of every line that is not blank.

    Args:
        path: UTF-8, with or without a byte order mark.
        wanted: what the file should be, for errors.
        max_line_bytes: see `bounded_lines`.
        advance: told of each share of the file that is read.

    Raises:
        DataError: not such a file, or a line that is no JSON.
    """
    for number, line, share in bounded_lines(path, wanted, max_line_bytes):
        advance(share)
        if line.strip() in (b"", codecs.BOM_UTF8):
            continue
        try:
            row = decode_json(line)
        except NOT_JSON as error:
            raise DataError(
                f"{path}, line {number}: not JSON ({error}); wanted {wanted}"
            ) from error
        yield number, row


def bounded_lines(path: Path, wanted: str, max_bytes: int) -> Iterator[tuple[int, bytes, float]]:
    """Number and content of every line, its end included, and its share of the file.

    Args:
        path: of the file.
        wanted: what it should be, for errors.
        max_bytes: no line may be longer; a file that is one long line is not read into memory.

    Raises:
        DataError: it cannot be read, is Parquet, or a line is too long.
    """
    try:
        with path.open("rb") as file:
            head = file.read(len(PARQUET))
            if head == PARQUET:
                raise DataError(f"{path}: Parquet, which its name does not say; wanted {wanted}")
            file.seek(0)
            size = os.fstat(file.fileno()).st_size
            number = 0
            while line := file.readline(max_bytes + 1):
                number += 1
                if len(line) > max_bytes:
                    raise DataError(
                        f"{path}, line {number}: over {max_bytes} bytes; wanted {wanted}"
                    )
                yield number, line, len(line) / size
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror or error}); give {wanted}"
        ) from error
