"""Work that takes its time and cannot say how far it is: a spinner, or in a log plain lines."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

TELL_AFTER_S = 2.0
"""Until then a log hears nothing; each pause after it is twice as long..."""
LONGEST_PAUSE_S = 60.0
"""...up to this."""


@contextmanager
def doing(what: str, console: Console) -> Iterator[None]:
    """Show that work goes on while the context lasts.

    Args:
        what: is done, such as ``starting engines``.
        console: to show it on.
    """
    if console.is_terminal and not console.is_dumb_terminal:
        with console.status(what):
            yield
        return
    started = time.monotonic()
    ended = threading.Event()
    teller = threading.Thread(target=_tell, args=(what, console, started, ended), daemon=True)
    teller.start()
    try:
        yield
    finally:
        ended.set()
        teller.join()


def _tell(what: str, console: Console, started: float, ended: threading.Event) -> None:
    pause = TELL_AFTER_S
    while not ended.wait(pause):
        seconds = time.monotonic() - started
        _print(f"{what}, {seconds:.0f} s so far", console)
        pause = min(2 * pause, LONGEST_PAUSE_S)
    seconds = time.monotonic() - started
    if seconds >= TELL_AFTER_S:
        _print(f"{what} took {seconds:.0f} s", console)


def _print(line: str, console: Console) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)
