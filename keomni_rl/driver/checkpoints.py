"""Checkpoints that are either whole or not there: written aside, flushed, listed, renamed.

A checkpoint is a folder with the learner's safetensors, ``state.json`` (where the run is) and
``manifest.json`` (size and SHA-256 of every file). Its name appears only when all of it is on disk.
"""

import hashlib
import logging
import os
import shutil
from collections.abc import Awaitable, Callable
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, NonNegativeInt, TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open

from keomni_rl.errors import CheckpointError
from keomni_rl.models.adapters import DOWN, SCALE

log = logging.getLogger(__name__)
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


async def save_checkpoint(
    folder: Path, state: RunState, write_learner: Callable[[Path], Awaitable[None]], *, keep: int
) -> Path:
    """Write ``step_NNNNNN`` under ``folder``; then of all others ``keep`` - 1 stay."""
    final = folder / f"step_{state.step:06d}"
    aside = folder / f".step_{state.step:06d}.partial"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    await write_learner(aside)
    (aside / STATE).write_text(state.model_dump_json(indent=2) + "\n")
    files = sorted(path for path in aside.iterdir() if path.is_file())
    manifest = {
        path.name: Listed(bytes=path.stat().st_size, sha256=file_digest(path)) for path in files
    }
    (aside / MANIFEST).write_bytes(LISTING.dump_json(manifest, indent=2) + b"\n")
    for path in (*files, aside / MANIFEST, aside):
        _flush(path)
    if final.exists():
        shutil.rmtree(final)
    aside.rename(final)
    _flush(folder)
    for path in _dropped(folder, final, keep):
        shutil.rmtree(path)
    return final


def _dropped(folder: Path, written: Path, keep: int) -> list[Path]:
    """All but the one just written and the newest whole ones before it, ``keep`` together.

    Later ones are damaged, or the run would have gone on from them. Digests are not looked at,
    which would take as long as writing.
    """
    found = list_checkpoints(folder)
    before = reversed(found[: found.index(written)])
    whole = (path for path in before if not find_damage(path, digests=False))
    kept = {written, *islice(whole, keep - 1)}
    return [path for path in found if path not in kept]


def list_checkpoints(folder: Path) -> list[Path]:
    """Finished checkpoints, oldest first; a copy under a longer name is none, nor is a link."""
    found = [
        path
        for path in folder.glob("step_*")
        if _number(path).isdecimal() and path.is_dir() and not path.is_symlink()
    ]
    return sorted(found, key=lambda path: int(_number(path)))


def _number(path: Path) -> str:
    return path.name.removeprefix("step_")


def latest_checkpoint(folder: Path) -> tuple[Path, RunState] | None:
    """The newest checkpoint whose files are as they were written; a damaged one is passed over.

    Raises:
        CheckpointError: there are checkpoints and all are damaged.
    """
    found = list_checkpoints(folder)
    for path in reversed(found):
        if damage := find_damage(path):
            log.warning("checkpoint %s is damaged (%s); using the one before it", path, damage)
            continue
        return path, RunState.model_validate_json(_read(path / STATE))
    if found:
        raise CheckpointError(
            f"{folder}: all {len(found)} checkpoints are damaged; start a new run"
        )
    return None


def checkpoint_of(folder: Path, step: int) -> Path | None:
    """The checkpoint of one step, if there is a whole one."""
    path = folder / f"step_{step:06d}"
    return None if find_damage(path) else path


def find_damage(path: Path, *, digests: bool = True) -> str | None:
    """What is wrong with a checkpoint, or None; without ``digests`` only sizes are compared."""
    try:
        name = MANIFEST
        manifest = LISTING.validate_json(_read(path / name))
        name = STATE
        RunState.model_validate_json(_read(path / name))
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


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(MAX_NOTE_BYTES + 1)
    if len(content) > MAX_NOTE_BYTES:
        raise OSError(f"over {MAX_NOTE_BYTES} bytes")
    return content


class Adapters(NamedTuple):
    """The adapters in a checkpoint."""

    rank: int
    scale: float
    """alpha / rank."""


def stored_adapters(path: Path) -> Adapters | None:
    """The adapters that a checkpoint holds; None if it holds whole weights.

    Raises:
        CheckpointError: it holds neither.
    """
    files = sorted(path.glob("policy-*.safetensors"))
    if not files:
        raise CheckpointError(f"{path}: no policy-*.safetensors; this is no learner checkpoint")
    try:
        with safe_open(files[0], framework="numpy") as tensors:
            notes = tensors.metadata() or {}
            if SCALE not in notes:
                return None
            [down, *_] = [name for name in tensors.keys() if name.endswith(DOWN)]  # noqa: SIM118
            return Adapters(tensors.get_slice(down).get_shape()[0], float(notes[SCALE]))
    except (SafetensorError, ValueError, IndexError) as error:
        raise CheckpointError(
            f"{files[0]}: not readable as weights of a learner ({error}); use another checkpoint"
        ) from error


def file_digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
