"""Checkpoints that are either whole or not there: written aside, flushed, listed, renamed.

A checkpoint is a folder with the learner's safetensors, ``state.json`` (where the run is) and
``manifest.json`` (size and SHA-256 of every file). Its name appears only when all of it is on disk.
"""

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from keomni_rl.errors import CheckpointError

log = logging.getLogger(__name__)
MANIFEST = "manifest.json"
STATE = "state.json"


class RunState(BaseModel):
    """Where a run is: all that resuming needs beside the learner's tensors.

    Sampling seeds and data order are functions of the seed and of ``position``, so there is no
    generator state to keep.
    """

    model_config = ConfigDict(frozen=True)

    step: int = 0
    """Optimizer steps done, which is the policy version too."""
    position: int = 0
    """Groups of the prompt stream that were trained on or dropped; the next is generated anew."""


async def save_checkpoint(
    folder: Path, state: RunState, write_learner: Callable[[Path], Awaitable[None]], *, keep: int
) -> Path:
    """Write ``step_NNNNNN`` under ``folder`` and drop the oldest beyond ``keep``."""
    final = folder / f"step_{state.step:06d}"
    aside = folder / f".step_{state.step:06d}.partial"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    await write_learner(aside)
    (aside / STATE).write_text(state.model_dump_json(indent=2) + "\n")
    files = sorted(path for path in aside.iterdir() if path.is_file())
    manifest = {
        path.name: {"bytes": path.stat().st_size, "sha256": file_digest(path)} for path in files
    }
    (aside / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")
    for path in (*files, aside / MANIFEST, aside):
        _flush(path)
    if final.exists():
        shutil.rmtree(final)
    aside.rename(final)
    _flush(folder)
    for old in list_checkpoints(folder)[:-keep]:
        shutil.rmtree(old)
    return final


def list_checkpoints(folder: Path) -> list[Path]:
    """Finished checkpoints, oldest first."""
    return sorted(folder.glob("step_*"))


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
        return path, RunState.model_validate_json((path / STATE).read_text())
    if found:
        raise CheckpointError(
            f"{folder}: all {len(found)} checkpoints are damaged; start a new run"
        )
    return None


def find_damage(path: Path) -> str | None:
    """What is wrong with a checkpoint, or None."""
    try:
        manifest = json.loads((path / MANIFEST).read_text())
    except (OSError, json.JSONDecodeError) as error:
        return f"no readable {MANIFEST}: {error}"
    for name, expected in manifest.items():
        file = path / Path(name).name
        if not file.is_file():
            return f"{name} is missing"
        if file.stat().st_size != expected["bytes"] or file_digest(file) != expected["sha256"]:
            return f"{name} has changed since it was written"
    return None


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
