"""Keeps a URL as the driver's working folder is: what has changed is uploaded in the background.

A file goes up whole, since object stores have no append. So that this stays bounded whatever the
pace of steps and the length of the files, passes are `EVERY_S` apart and take a tenth of the time
at most. Files go in the order in which they were written: one that speaks of another never
arrives before it. Lines that are being written wait for their end. Checkpoints have a way of their
own (`keomni_rl.driver.stored_checkpoints`).
"""

import logging
import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

from keomni_rl.errors import StoreError
from keomni_rl.storage.lease import Lease
from keomni_rl.storage.store import Store, patient, refused, told

log = logging.getLogger(__name__)
EVERY_S = 2.0
LONGEST_PAUSE_S = 60.0
CHECKPOINTS = "checkpoints"
Stamp = tuple[int, int, int]
"""Time of the last change in ns, bytes, inode."""
OnEvent = Callable[[str, str], None]


class Mirror:
    """Mirrors from entry to exit; whatever ends the run, its last state is uploaded on exit.

    Args:
        folder: the working folder, which is emptied and filled from the store on entry.
        store: what it is mirrored to.
        lease: the right to write there.
        on_event: told of an outage's begin and end, with the cause.

    Raises:
        ConfigError: on entry: the store refuses, or names a file outside of itself.
        StoreError: on exit: what was written last could not be stored.
    """

    def __init__(self, folder: Path, store: Store, lease: Lease, on_event: OnEvent) -> None:
        self._folder, self._store, self._lease = folder, store, lease
        self._on_event = on_event
        self._known: dict[str, Stamp] = {}
        self._is_away = False
        self._turn = threading.Lock()
        self._ending = threading.Event()
        self._pool = ThreadPoolExecutor(1, "mirror")
        self._passes: Future[None] | None = None

    def __enter__(self) -> Self:
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        try:
            names = [name for name in self._store.sizes() if _is_mirrored(name)]
            self._store.download({name: self._folder / name for name in names})
        except OSError as error:
            raise refused(self._store.url, error) from error
        self._known = self._found()
        self._passes = self._pool.submit(self._pass_after_pass)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ending.set()
        self._pool.shutdown()
        try:
            self.flush()
        except (OSError, StoreError) as failure:
            message = (
                f"{self._store.url}: the run's last state could not be stored ({told(failure)}); "
                f"it is in {self._folder} until the run is resumed on this machine, and a "
                "resumption goes on from what the store holds"
            )
            if error is None:
                raise StoreError(message) from failure
            log.error("%s", message)

    @patient
    def flush(self) -> None:
        """Upload all that has changed, and return when it is there.

        Raises:
            OSError: the store was away for too long.
            StoreError: another driver has taken the run over.
        """
        if self._passes and self._passes.done():
            self._passes.result()  # it ends early by an error alone
        self._upload_changed()

    def _pass_after_pass(self) -> None:
        pause = EVERY_S
        while not self._ending.wait(pause):
            started = time.monotonic()
            try:
                self._upload_changed()
            except OSError:
                pause = min(2 * pause, LONGEST_PAUSE_S)
            except StoreError:
                return  # `flush` raises it where the run can end
            else:
                pause = min(max(EVERY_S, 9 * (time.monotonic() - started)), LONGEST_PAUSE_S)

    def _upload_changed(self) -> None:
        with self._turn:
            self._lease.check()
            try:
                self._upload()
            except OSError as error:
                if not self._is_away:
                    self._on_event("store away", told(error))
                self._is_away = True
                raise
            if self._is_away:
                self._is_away = False
                self._on_event("store back", self._store.url)
                self._upload()  # what was just told

    def _upload(self) -> None:
        found = self._found()
        changed = [name for name, stamp in found.items() if self._known.get(name) != stamp]
        for name in sorted(changed, key=found.__getitem__):
            try:
                content = (self._folder / name).read_bytes()
            except FileNotFoundError:  # gone since; the next pass takes it away
                continue
            if name.endswith(".jsonl"):
                content = content[: content.rfind(b"\n") + 1]
            self._store.write(name, content)
            self._known[name] = found[name]
        for name in self._known.keys() - found.keys():
            self._store.delete(name)
            del self._known[name]

    def _found(self) -> dict[str, Stamp]:
        stamps: dict[str, Stamp] = {}
        for path in self._folder.rglob("*"):
            name = path.relative_to(self._folder).as_posix()
            if not _is_mirrored(name):
                continue
            try:
                stat = path.stat()
            except FileNotFoundError:
                continue
            if path.is_file():
                stamps[name] = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        return stamps


def _is_mirrored(name: str) -> bool:
    """Not checkpoints, nor what is hidden or being written."""
    parts = name.split("/")
    return parts[0] != CHECKPOINTS and parts[-1][0] != "." and not name.endswith(".tmp")
