"""Checkpoints that are either whole or not there: written aside, flushed, listed, renamed.

A checkpoint is a folder with the learner's safetensors, ``state.json`` (where the run is) and
``manifest.json`` (size and SHA-256 of every file). Its name appears only when all of it is on disk.
Those in an object store are in `keomni_rl.driver.stored_checkpoints`.
"""

import logging
import os
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from safetensors import SafetensorError, safe_open

from keomni_rl.errors import CheckpointError
from keomni_rl.models.adapters import DOWN, SCALE
from keomni_rl.storage.manifest import (
    LISTING,
    MANIFEST,
    STATE,
    Listed,
    RunState,
    dropped,
    file_digest,
    find_damage,
    read_state,
    step_name,
    step_of,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One to go on from."""

    folder: Path
    """On this machine's disk."""
    state: RunState
    place: Path | str
    """Where the learner's nodes find it: a folder that all see, or a URL."""


class Checkpoints(Protocol):
    """Those of one run, wherever they are kept."""

    async def save(
        self, state: RunState, write_learner: Callable[[Any], Awaitable[Any]], *, keep: int
    ) -> str:
        """Write one; then of all others ``keep`` - 1 stay.

        Args:
            state: where the run is.
            write_learner: writes the learner's files to a folder or a URL.
            keep: how many stay.

        Returns:
            Its name.

        Raises:
            OSError: it could not be written; the one before it stays.
        """

    def newest(self) -> Checkpoint | None:
        """The newest whole one; a damaged one is passed over aloud.

        Raises:
            CheckpointError: there are some and all are damaged.
        """

    def of_step(self, step: int) -> Path | str | None:
        """Where the learner's nodes find the one of a step, if there is a whole one."""

    def forget(self) -> None:
        """Give back what looking for one needed on this machine."""


class LocalCheckpoints:
    """In a folder that the learner's nodes see too."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def save(
        self, state: RunState, write_learner: Callable[[Path], Awaitable[Any]], *, keep: int
    ) -> str:
        """See `Checkpoints.save`."""
        return (await save_checkpoint(self._folder, state, write_learner, keep=keep)).name

    def newest(self) -> Checkpoint | None:
        """See `Checkpoints.newest`."""
        found = latest_checkpoint(self._folder)
        return found and Checkpoint(*found, place=found[0])

    def of_step(self, step: int) -> Path | None:
        """See `Checkpoints.of_step`."""
        path = self._folder / step_name(step)
        return None if find_damage(path) else path

    def forget(self) -> None:
        """Nothing was needed."""


async def save_checkpoint(
    folder: Path, state: RunState, write_learner: Callable[[Path], Awaitable[Any]], *, keep: int
) -> Path:
    """Write ``step_NNNNNN`` under ``folder``; then of all others ``keep`` - 1 stay."""
    final = folder / step_name(state.step)
    aside = folder / f".{final.name}.partial"
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
    for path in dropped(list_checkpoints(folder), final, _is_whole, keep=keep):
        shutil.rmtree(path)
    return final


def list_checkpoints(folder: Path) -> list[Path]:
    """Finished checkpoints, oldest first; a copy under a longer name is none, nor is a link."""
    found = [
        path
        for path in folder.glob("step_*")
        if step_of(path.name) is not None and path.is_dir() and not path.is_symlink()
    ]
    return sorted(found, key=lambda path: step_of(path.name) or 0)


def _is_whole(path: Path) -> bool:
    return not find_damage(path, digests=False)


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
        return path, read_state(path)
    if found:
        raise CheckpointError(
            f"{folder}: all {len(found)} checkpoints are damaged; start a new run"
        )
    return None


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


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
