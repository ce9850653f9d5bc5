"""What nobody would write on purpose: odd JSON, odd texts, damaged files; and what is to come of it.

Every reader either takes such a thing as its documentation says, or refuses it in one clear message.
"""

import os
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

from hypothesis import strategies as st

from keomni_rl.errors import USER_ERRORS

GIB = 2**30
LONGEST_MESSAGE = 3_000
TAGS = ["<think>", "</think>", "<answer>", "</answer>"]
ODD_TEXTS = [
    *TAGS,
    "",
    " ",
    "\0",
    "\ud800",
    "\u2028",
    "\ufeff",
    "\x1b[2J",
    "x" * 300,
    "../../etc/passwd",
    "/etc/passwd",
    "${oc.env:HOME}",
    "???",
    "1e999",
    "None",
]
texts = st.sampled_from(ODD_TEXTS) | st.text(max_size=20)
numbers = st.sampled_from([-1, 0, 2**31, 2**63, 10**400, 1e308, float("nan"), float("inf")])
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=8,
)
PIECES = [b"", b"\0" * 8, b"\xff" * 4, b"\xff" * 8, b"\x80", struct.pack("<I", 2**31 - 1)]


@st.composite
def damaged(draw: st.DrawFn, whole: Sequence[bytes]) -> bytes:
    """One of these contents with bytes changed, put in or taken out, and perhaps cut short."""
    content = bytearray(draw(st.sampled_from(whole)))
    for _ in range(draw(st.integers(1, 6))):
        near_start = st.integers(0, min(256, len(content)))
        place = draw(near_start | st.integers(0, len(content)))
        piece = draw(st.sampled_from(PIECES) | st.binary(max_size=8))
        taken = draw(st.sampled_from([0, 1, len(piece), 64]))
        content[place : place + taken] = piece
    return bytes(content[: draw(st.none() | st.integers(0, len(content)))])


class Evil:
    """Leaves a mark where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


def taken_or_refused(call: Callable[[], object], *named: str) -> bool:
    """Whether a call works; if not, that its error is a user's, of bounded length, and names these."""
    try:
        call()
    except USER_ERRORS as error:
        message = str(error)
    else:
        return True
    assert all(name in message for name in named), message
    assert len(message) < LONGEST_MESSAGE, len(message)
    return False


def sparse(path: Path, *, start: bytes = b"", end: bytes = b"", num_bytes: int = GIB) -> Path:
    """A file of so many bytes, NUL between its start and its end, that takes no room on disk."""
    path.write_bytes(start)
    os.truncate(path, num_bytes - len(end))
    with path.open("ab") as file:
        file.write(end)
    return path
