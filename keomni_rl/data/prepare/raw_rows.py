"""Rows of a raw download, a JSON array or JSON Lines, each with its number.

A file of another kind is an error that says what was wanted. A single row that becomes no question
is not: whoever converts it raises `UnusableRowError`, and it is counted and listed.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keomni_rl.data.json_lines import NOT_JSON, decode_json, read_json_lines, read_whole
from keomni_rl.errors import DataError

MAX_LINE_BYTES = 2**24
MALFORMED = "malformed"
Advance = Callable[[float], object]
"""Told of each share of the work that is done."""


class UnusableRowError(ValueError):
    """A row that becomes no question: why, in words to count by, and the particulars."""

    @property
    def reason(self) -> str:
        """What rows are counted by."""
        return str(self.args[0])

    @property
    def detail(self) -> str:
        """What was found in this one."""
        return str(self.args[1]) if len(self.args) > 1 else ""


@dataclass(frozen=True, slots=True)
class RawFormat:
    """What a download's rows look like."""

    name: str
    """Of the dataset, for messages."""
    required: tuple[str, ...]
    """Keys without which no row becomes a question."""

    def check_head(self, row: Mapping[str, Any], where: str) -> None:
        """Refuse a file whose first row lacks a key, before the rest is read.

        Raises:
            DataError: a column is missing.
        """
        if missing := [key for key in self.required if key not in row]:
            raise DataError(
                f"{where}: no {missing[0]!r}; {self.name}'s rows have {', '.join(self.required)}"
            )


def read_array(path: Path, raw: RawFormat) -> Sequence[Any]:
    """All rows of a JSON array; row number n is its entry number n, from 1.

    Raises:
        DataError: not a JSON array of rows of this format.
    """
    wanted = f"{raw.name}'s file, a JSON array"
    try:
        rows = decode_json(read_whole(path, wanted))
    except NOT_JSON as error:
        raise DataError(f"{path}: not JSON ({error}); wanted {wanted}") from error
    if not isinstance(rows, list) or not rows:
        raise DataError(f"{path}: wanted {wanted} of one or more rows")
    head = next(((n, row) for n, row in enumerate(rows, start=1) if isinstance(row, dict)), None)
    if head is None:
        raise DataError(f"{path}: wanted an array of objects with {', '.join(raw.required)}")
    raw.check_head(head[1], f"{path}, entry {head[0]}")
    return rows


def read_lines(
    path: Path, raw: RawFormat, advance: Advance = lambda _: None
) -> Iterator[tuple[int, Any]]:
    """Line number, from 1, and row of every line of a JSON Lines file that is not blank.

    Raises:
        DataError: not such a file, a line that is no JSON (with its number), or a first row of
            another format.
    """
    wanted = f"{raw.name}'s file, one object a line"
    is_checked = False
    for number, row in read_json_lines(
        path, wanted, max_line_bytes=MAX_LINE_BYTES, advance=advance
    ):
        if isinstance(row, list) and not is_checked:
            raise DataError(f"{path}: a JSON array; wanted {wanted}")
        if isinstance(row, dict) and not is_checked:
            raw.check_head(row, f"{path}, line {number}")
            is_checked = True
        yield number, row
    if not is_checked:
        raise DataError(f"{path}: holds no rows; wanted {wanted}")


def wanted_object(row: Any) -> Mapping[str, Any]:
    """The row itself, if it is an object.

    Raises:
        UnusableRowError: it is null, a number, a text or a list.
    """
    if not isinstance(row, dict):
        raise UnusableRowError(MALFORMED, f"wanted an object, got {row!r:.80}")
    return row


def wanted_text(row: Mapping[str, Any], key: str) -> str:
    """The text under a key, trimmed.

    Raises:
        UnusableRowError: it is missing, null, blank or no text.
    """
    text = row.get(key)
    if not isinstance(text, str) or not text.strip():
        raise UnusableRowError(MALFORMED, f"{key!r} is {text!r:.80}, wanted text")
    return text.strip()


def wanted_id(row: Mapping[str, Any]) -> str:
    """The row's ``id``, text or a whole number, as text.

    Raises:
        UnusableRowError: it is missing, null, blank or of another kind.
    """
    name = row.get("id")
    if isinstance(name, int) and not isinstance(name, bool):
        return str(name)
    return wanted_text(row, "id")


def wanted_choices(row: Mapping[str, Any], key: str) -> list[str]:
    """The options under a key, trimmed: two or more, all different; numbers become text.

    Raises:
        UnusableRowError: they are not that.
    """
    choices = row.get(key)
    if not isinstance(choices, list) or not all(_is_option(choice) for choice in choices):
        raise UnusableRowError(MALFORMED, f"{key!r} is {choices!r:.120}, wanted a list of texts")
    texts = [str(choice).strip() for choice in choices]
    if len(texts) < 2 or not all(texts):
        raise UnusableRowError(MALFORMED, f"{key!r} is {choices!r:.120}, wanted two or more")
    if len(set(texts)) != len(texts):
        raise UnusableRowError("equal choices", f"{key!r} is {choices!r:.120}")
    return texts


def _is_option(choice: Any) -> bool:
    return isinstance(choice, (str, int, float)) and not isinstance(choice, bool)
