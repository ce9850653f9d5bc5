"""A question as a line of a training file, checked as training will check it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keomni_rl.data.prepare.raw_rows import MALFORMED, UnusableRowError
from keomni_rl.data.prompts import RESERVED
from keomni_rl.data.question_rows import MAX_LINE_BYTES
from keomni_rl.data.questions import parse_question
from keomni_rl.errors import DataError


def checked_line(row: Mapping[str, Any], base: Path) -> bytes:
    """The row as a line that training accepts.

    Args:
        row: a question of the training format.
        base: folder of the training file.

    Raises:
        UnusableRowError: training would refuse it.
    """
    try:
        parse_question(row, base, f"question {row['id']}")
        line = json.dumps(row, ensure_ascii=False).encode() + b"\n"
    except (DataError, UnicodeEncodeError) as error:
        raise UnusableRowError(MALFORMED, str(error)) from error
    if len(line) > MAX_LINE_BYTES:
        raise UnusableRowError(MALFORMED, f"over {MAX_LINE_BYTES} bytes")
    for text in (row["question"], *row["choices"]):
        if found := [piece for piece in RESERVED if piece in text]:
            raise UnusableRowError("reserved text", f"{text!r:.200} holds {found[0]!r}")
    return line
