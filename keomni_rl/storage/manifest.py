"""What a checkpoint's folder says of itself: where the run was, and what its files were.

``manifest.json`` has size and SHA-256 of every file. It is written last: without it a folder is no
checkpoint.
"""

import hashlib
import os
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, NonNegativeInt, TypeAdapter, ValidationError

NameT = TypeVar("NameT")
MANIFEST = "manifest.json"
STATE = "state.json"
MAX_NOTE_BYTES = 2**20
"""Of either of them."""


class RunState(BaseModel):
    """Where a run is: all that resuming needs beside the learner's tensors.

    Sampling seeds and data order are functions of the seed and of ``position``, so there is no
    generator state to keep.
    """

    model_config = ConfigDict(frozen=True)

    step: NonNegativeInt = 0
    """Optimizer steps done."""
    version: NonNegativeInt = 0
    """Policy version: steps done, and those that a lost learner took with it."""
    position: NonNegativeInt = 0
    """Groups of the prompt stream that were trained on or dropped; the next is generated anew."""
    ahead: tuple[NonNegativeInt, ...] = ()
    """Of the groups after it those that were trained on or dropped too, before a late one."""


class Listed(BaseModel):
    """One file in a manifest."""

    model_config = ConfigDict(frozen=True)

    bytes: int
    sha256: str


LISTING = TypeAdapter(dict[str, Listed])
"""A manifest: file names and what the files were when they were written."""


def find_damage(path: Path, *, digests: bool = True) -> str | None:
    """What is wrong with a checkpoint, or None; without ``digests`` only sizes are compared."""
    try:
        name = MANIFEST
        manifest = LISTING.validate_json(_read(path / name))
        name = STATE
        read_state(path)
    except (OSError, ValidationError) as error:
        return f"no readable {name}: {str(error).splitlines()[0]}"
    weights = {file.name for file in path.glob("*.safetensors")}
    if unlisted := ({STATE} | weights) - manifest.keys():
        return f"{MANIFEST} does not list {min(unlisted)}"
    for name, expected in manifest.items():
        file = path / Path(name).name
        if not os.path.isfile(file):
            return f"{name!r:.80} is missing"
        is_same_size = file.stat().st_size == expected.bytes
        if not is_same_size or (digests and file_digest(file) != expected.sha256):
            return f"{name!r:.80} has changed since it was written"
    return None


def read_state(path: Path) -> RunState:
    """Where the run of a checkpoint was.

    Raises:
        OSError, ValidationError: it does not say.
    """
    return RunState.model_validate_json(_read(path / STATE))


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(MAX_NOTE_BYTES + 1)
    if len(content) > MAX_NOTE_BYTES:
        raise OSError(f"over {MAX_NOTE_BYTES} bytes")
    return content


def file_digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def step_name(step: int) -> str:
    """What the checkpoint of a step is called."""
    return f"step_{step:06d}"


def step_of(name: str) -> int | None:
    """The step whose checkpoint has this name; None for a copy under a longer one."""
    number = name.removeprefix("step_")
    return int(number) if number != name and number.isdecimal() else None


def dropped(
    found: Sequence[NameT], written: NameT, is_whole: Callable[[NameT], bool], *, keep: int
) -> list[NameT]:
    """All but the one just written and the newest whole ones before it, ``keep`` together.

    Later ones are damaged, or the run would have gone on from them.

    Args:
        found: all checkpoints, oldest first.
        written: the newest by its time of writing.
        is_whole: by sizes; digests would take as long as writing.
        keep: how many stay.
    """
    before = reversed(found[: found.index(written)])
    kept = {written, *islice(filter(is_whole, before), keep - 1)}
    return [path for path in found if path not in kept]
