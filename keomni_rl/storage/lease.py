"""The right to be the one driver of a run at a URL: an object that its holder keeps changing.

An object store offers no lock and pyarrow no conditional write, so this is a convention between
drivers. Whoever finds a lease watches it, by its own clock alone: one that changes is held, and
one that stands still for `DEAD_AFTER_S` was left by a driver that died. A new holder writes its
name, waits and reads it back, so of two that come at once the last to write stays. What is left is
a write that takes longer than `SETTLE_S` to arrive: then two drivers start, and the one whose name
is gone finds out at its next beat and stops writing.
"""

import json
import logging
import os
import socket
import threading
import time
import uuid
from types import TracebackType
from typing import Any, Self

from keomni_rl.errors import ConfigError, StoreError
from keomni_rl.storage.store import Store, refused

log = logging.getLogger(__name__)
NAME = ".lease.json"
BEAT_S = 5.0
DEAD_AFTER_S = 40.0
SETTLE_S = 2.0


class Lease:
    """Held from entry to exit.

    Args:
        store: the run's folder.
        beat_s: between two signs of life.
        dead_after_s: without one.
        settle_s: before a new holder reads its name back.

    Raises:
        ConfigError: on entry: another driver holds it, or the store refuses.
    """

    def __init__(
        self,
        store: Store,
        *,
        beat_s: float = BEAT_S,
        dead_after_s: float = DEAD_AFTER_S,
        settle_s: float = SETTLE_S,
    ) -> None:
        self._store = store
        self._beat_s, self._dead_after_s, self._settle_s = beat_s, dead_after_s, settle_s
        self._owner = {"host": socket.gethostname(), "pid": os.getpid(), "id": uuid.uuid4().hex}
        self._num_beats = 0
        self._ending = threading.Event()
        self._taken_by: str | None = None
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)

    def check(self) -> None:
        """See that nobody else has taken the run over.

        Raises:
            StoreError: somebody has, and this driver must write no more.
        """
        if self._taken_by:
            raise StoreError(
                f"{self._store.url}: {self._taken_by} has taken this run over, since this driver "
                "gave no sign of life for a while; only one of the two may go on, so this one ends"
            )

    def __enter__(self) -> Self:
        try:
            self._wait_for_the_dead()
            self._beat()
            time.sleep(self._settle_s)
            now = self._store.read(NAME)
        except OSError as error:
            raise refused(self._store.url, error) from error
        if now is None or not self._is_mine(now):
            raise self._refusal(now)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ending.set()
        self._thread.join()
        if not self._taken_by:
            try:
                self._store.delete(NAME)
            except OSError:
                return  # it ends by itself

    def _wait_for_the_dead(self) -> None:
        found = self._store.read(NAME)
        deadline = time.monotonic() + self._dead_after_s
        if found is not None:
            log.warning(
                "%s: a driver (%s) has not given it back; watching for %.0f s whether it lives",
                self._store.url,
                _who(found),
                self._dead_after_s,
            )
        while found is not None and time.monotonic() < deadline:
            time.sleep(self._beat_s / 2)
            now = self._store.read(NAME)
            if now is None:
                return
            if now != found:
                raise self._refusal(now)

    def _refusal(self, content: bytes | None) -> ConfigError:
        return ConfigError(
            f"{self._store.url}: another driver ({_who(content)}) is running in this folder; stop "
            "it first"
        )

    def _beat(self) -> None:
        self._num_beats += 1
        self._store.write(NAME, json.dumps(self._owner | {"beat": self._num_beats}).encode())

    def _is_mine(self, content: bytes) -> bool:
        return _parsed(content).get("id") == self._owner["id"]

    def _keep(self) -> None:
        while not self._ending.wait(self._beat_s):
            try:
                now = self._store.read(NAME)
                if now is not None and not self._is_mine(now):
                    self._taken_by = _who(now)
                    return
                self._beat()
            except OSError:
                continue  # the mirror tells of a store that is away


def _parsed(content: bytes | None) -> dict[str, Any]:
    try:
        found = json.loads(content or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _who(content: bytes | None) -> str:
    found = _parsed(content)
    return f"process {found.get('pid', '?')!s:.20} on {found.get('host', '?')!s:.80}"
