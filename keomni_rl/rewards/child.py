"""A process for calls that may never return, or crash: it is killed, and another takes its place.

A call that is busy inside C, as a regular expression is, cannot be interrupted and holds up every
thread around it, so that the end of its process is the one limit that always works. pebble sees to
the process: to its deadline, its end and its successor.
"""

import logging
import multiprocessing
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from pebble import ProcessPool

log = logging.getLogger(__name__)
ResultT = TypeVar("ResultT")
GRACE_S = 5.0
"""What the process's own alarm leaves to its parent, which is to end it at the deadline."""


class Child:
    """One process, which starts with the first call and keeps its state until it is killed.

    Works in any thread, in one at a time.

    Args:
        prepare: what a fresh process does before anything else; picklable.
        startup_s: seconds for that.
    """

    def __init__(self, prepare: Callable[[], None], *, startup_s: float) -> None:
        self._prepare = prepare
        self._startup_s = startup_s
        self._pool = self._new_pool()

    def run(
        self,
        function: Callable[..., ResultT],
        calls: Sequence[tuple[Any, ...]],
        *,
        deadline_s: float,
    ) -> "list[Future[ResultT]]":
        """Call a function with each of these arguments; all are under way at once.

        Args:
            function: importable by name.
            calls: its arguments in each call.
            deadline_s: seconds for one call, from when the process begins with it.

        Returns:
            As many finished futures. Their exceptions: `TimeoutError` of a call that passed its
            deadline, `pebble.ProcessExpired` of one that ended the process, or what it raised.

        Raises:
            BrokenProcessPool: the process ended while nobody saw it at a call: it did not get
                ready, or a call ended it at once. The next call finds another one.
        """
        if calls and not self._pool.active:
            log.warning("a reward's process ended between calls; a new one")
            self.close()
            self._pool = self._new_pool()
        try:
            futures = [
                self._pool.schedule(
                    _with_alarm, args=(deadline_s, function, *arguments), timeout=deadline_s
                )
                for arguments in calls
            ]
        except RuntimeError as error:  # what a pool says that broke in between
            raise BrokenProcessPool(str(error)) from error
        limit_s = self._startup_s + 2 * deadline_s * len(calls)
        if wait(futures, timeout=limit_s).not_done:
            self.close()
            raise BrokenProcessPool(f"no answer in {limit_s:g} s")
        for future in futures:
            if isinstance(future.exception(), BrokenProcessPool):
                future.result()
        return futures

    def close(self) -> None:
        """End the process."""
        self._pool.stop()
        self._pool.join()

    def _new_pool(self) -> ProcessPool:
        return ProcessPool(
            max_workers=1,
            initializer=_begin,
            initargs=(self._startup_s, self._prepare),
            # a fork would inherit locks of other threads
            context=multiprocessing.get_context("spawn"),
        )


def _begin(startup_s: float, prepare: Callable[[], None]) -> None:
    """Make a process ready, before the first deadline runs."""
    # pebble's handler would wait for Python to get a word in, which a call inside C does not grant.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _with_alarm(startup_s, prepare)


def _with_alarm(limit_s: float, function: Callable[..., ResultT], *arguments: Any) -> ResultT:
    """Run in the process. An alarm ends it where a parent that was killed no longer can."""
    signal.setitimer(signal.ITIMER_REAL, limit_s + GRACE_S)
    try:
        return function(*arguments)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
