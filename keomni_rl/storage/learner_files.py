"""A learner's files on their way between a node's disk and the store; no disk is shared."""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from keomni_rl.config.run_dir import digest, last_name, parent, work_dir
from keomni_rl.errors import CheckpointError
from keomni_rl.storage.manifest import MANIFEST, Listed, find_damage
from keomni_rl.storage.store import Store, patient


def upload_learner(folder: Path, url: str) -> dict[str, Listed]:
    """Upload a learner's part of a checkpoint; returns what the manifest is to list.

    Raises:
        OSError: the store was away for too long.
    """
    store = patient(Store)(url)
    upload = patient(store.upload)
    return {
        file.name: Listed(bytes=file.stat().st_size, sha256=upload(file, file.name))
        for file in sorted(folder.iterdir())
    }


@contextmanager
def scratch(url: str, rank: int) -> Iterator[Path]:
    """A folder on this node's disk for a rank's part of a checkpoint until it is uploaded.

    It is the same for all checkpoints of a run, so one that a killed rank left is cleared away.
    """
    folder = work_dir() / "saving" / f"{digest(parent(url))}-{rank}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def fetch_checkpoint(url: str, cache: Path | None = None) -> Path:
    """A checkpoint on this node's disk, fetched once for all processes of the node.

    Args:
        url: of the checkpoint.
        cache: folder for it, whose other checkpoints are removed; None is one that the node's
            processes share until `forget_fetched`.

    Raises:
        CheckpointError: it is none, or damaged.
        OSError: the store was away for too long.
    """
    store = patient(Store)(url)
    cache = cache or _cache(url)
    folder = cache / last_name(url)
    with _one_at_a_time(cache):
        manifest = patient(store.read)(MANIFEST)
        if manifest is None:
            raise CheckpointError(f"{url}: no {MANIFEST}; this is no whole checkpoint")
        if folder.exists() and (folder / MANIFEST).read_bytes() == manifest:
            return folder
        _empty(cache)
        aside = folder.with_name(f".{folder.name}.partial")
        names = [name for name in patient(store.sizes)() if "/" not in name]
        store.download({name: aside / name for name in names}, threads=4)
        if damage := find_damage(aside):
            shutil.rmtree(aside)
            raise CheckpointError(f"{url}: {damage}")
        aside.rename(folder)
        return folder


def forget_fetched(url: str) -> None:
    """Remove from this node's disk what was fetched of a run's checkpoints."""
    shutil.rmtree(_cache(url), ignore_errors=True)


def _cache(url: str) -> Path:
    """Of all checkpoints of the run that one is of."""
    return work_dir() / "fetched" / digest(parent(url))


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        shutil.rmtree(path)
