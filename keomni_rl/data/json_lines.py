"""JSON Lines files, row by row, each with the number of its line."""

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
PARQUET = b"PAR1"


def decode_json(content: bytes) -> Any:
    """The value of a JSON text in UTF-8; ``NaN`` and ``Infinity``, which JSON has not, are null.

    Raises:
        ValueError, RecursionError: it is no JSON.
    """
    return DECODER.decode(content.decode("utf-8-sig"))


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
        max_line_bytes: no line may be longer; a file that is one long line is not read into memory.
        advance: told of each share of the file that is read.

    Raises:
        DataError: not such a file, or a line that is no JSON.
    """
    for number, line, share in _lines(path, wanted, max_line_bytes):
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


def _lines(path: Path, wanted: str, max_bytes: int) -> Iterator[tuple[int, bytes, float]]:
    """Number and content of every line, and its share of the file."""
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
