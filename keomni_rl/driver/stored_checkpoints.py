"""Checkpoints in an object store, which are whole or not there: the manifest goes up last.

The learner's files go straight from its node to the store and from there to the nodes that resume,
so no disk has to be shared. Before the manifest goes what the run has written of its steps so far:
a checkpoint is never ahead of its metrics.
"""

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from pydantic import ValidationError

from keomni_rl.config.run_dir import inside
from keomni_rl.driver.checkpoints import Checkpoint
from keomni_rl.errors import CheckpointError
from keomni_rl.storage.learner_files import fetch_checkpoint, forget_fetched
from keomni_rl.storage.manifest import (
    LISTING,
    MANIFEST,
    STATE,
    Listed,
    RunState,
    dropped,
    read_state,
    step_name,
    step_of,
)
from keomni_rl.storage.mirror import CHECKPOINTS, Mirror
from keomni_rl.storage.store import Store, patient, told

log = logging.getLogger(__name__)


class StoredCheckpoints:
    """See `keomni_rl.driver.checkpoints.Checkpoints`.

    Args:
        store: the run's folder.
        mirror: brings it what the run writes; None if checkpoints are only read.
        cache: where `newest` puts what it fetches; None is what all processes of the node share.
    """

    def __init__(
        self, store: Store, mirror: Mirror | None = None, cache: Path | None = None
    ) -> None:
        self._store, self._mirror, self._cache = store, mirror, cache

    async def save(
        self,
        state: RunState,
        write_learner: Callable[[str], Awaitable[dict[str, Listed] | None]],
        *,
        keep: int,
    ) -> str:
        """Write one, and delete those that are not to be kept; returns its name."""
        name = step_name(state.step)
        await asyncio.to_thread(self._begin, name)
        listing = await write_learner(self._url(name))
        assert listing is not None
        await asyncio.to_thread(self._end, name, state, listing, keep)
        return name

    def newest(self) -> Checkpoint | None:
        """The newest whole one, fetched to this machine's disk; see `Checkpoints.newest`."""
        files = self._files()
        found = [name for name in files if MANIFEST in files[name]]
        for name in reversed(found):
            try:
                folder = fetch_checkpoint(self._url(name), self._cache)
            except CheckpointError as error:
                log.warning("checkpoint %s is damaged (%s); using the one before it", name, error)
                continue
            return Checkpoint(folder, read_state(folder), place=self._url(name))
        if found:
            raise CheckpointError(
                f"{self._url('')}: all {len(found)} checkpoints are damaged; start a new run"
            )
        return None

    def of_step(self, step: int) -> str | None:
        """See `Checkpoints.of_step`."""
        url = self._url(step_name(step))
        try:
            fetch_checkpoint(url, self._cache)
        except CheckpointError:
            return None
        return url

    def forget(self) -> None:
        """Remove from this machine's disk what was fetched."""
        forget_fetched(self._url(""))

    def _url(self, name: str) -> str:
        return inside(self._store.url, f"{CHECKPOINTS}/{name}")

    @patient
    def _files(self) -> dict[str, dict[str, int]]:
        """Files and their bytes of every folder that is named like a checkpoint, oldest first."""
        files: dict[str, dict[str, int]] = {}
        for path, size in self._store.sizes(CHECKPOINTS).items():
            _, name, *rest = path.split("/")
            if step_of(name) is not None and rest:
                files.setdefault(name, {})["/".join(rest)] = size
        return dict(sorted(files.items(), key=lambda item: step_of(item[0]) or 0))

    def _begin(self, name: str) -> None:
        assert self._mirror is not None
        self._mirror.flush()
        self._delete(name, self._files().get(name, {}))

    def _end(self, name: str, state: RunState, listing: dict[str, Listed], keep: int) -> None:
        assert self._mirror is not None
        content = (state.model_dump_json(indent=2) + "\n").encode()
        digest = hashlib.sha256(content).hexdigest()
        listing = listing | {STATE: Listed(bytes=len(content), sha256=digest)}
        write = patient(self._store.write)
        write(f"{CHECKPOINTS}/{name}/{STATE}", content)
        self._mirror.flush()  # nobody else has taken the run over, and every metric is there
        write(f"{CHECKPOINTS}/{name}/{MANIFEST}", LISTING.dump_json(listing, indent=2) + b"\n")
        try:
            self._delete_others(name, keep)
        except OSError as error:  # the next one tries again; this one is there
            log.warning("checkpoints before %s could not be deleted: %s", name, told(error))

    def _delete_others(self, written: str, keep: int) -> None:
        files = self._files()
        for old in dropped(list(files), written, lambda n: self._is_whole(n, files[n]), keep=keep):
            self._delete(old, files[old])

    def _is_whole(self, name: str, files: dict[str, int]) -> bool:
        try:
            content = self._store.read(f"{CHECKPOINTS}/{name}/{MANIFEST}")
            listing = LISTING.validate_json(content or b"")
        except ValidationError:
            return False
        return all(files.get(file) == listed.bytes for file, listed in listing.items())

    def _delete(self, name: str, files: dict[str, int]) -> None:
        for file in sorted(files, key=lambda file: file != MANIFEST):  # the manifest first
            self._store.delete(f"{CHECKPOINTS}/{name}/{file}")
