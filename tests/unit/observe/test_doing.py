import io
import threading

import pytest
from rich.console import Console

from keomni_rl.observe import doing as module
from keomni_rl.observe.doing import doing
from keomni_rl.observe.progress import Progress


class Told(io.StringIO):
    """A log that says when it has been written to."""

    def __init__(self):
        super().__init__()
        self.has_come = threading.Event()

    def write(self, text):
        written = super().write(text)
        self.has_come.set()
        return written


def test_a_log_hears_of_long_work_in_plain_lines(monkeypatch):
    monkeypatch.setattr(module, "TELL_AFTER_S", 0.01)
    log = Told()
    with doing("starting engines [vLLM]", Console(file=log)):
        assert log.has_come.wait(60)
    first, *_, last = log.getvalue().splitlines()
    assert first == "starting engines [vLLM], 0 s so far"
    assert last == "starting engines [vLLM] took 0 s"
    assert "\x1b" not in log.getvalue()


def test_a_log_hears_nothing_of_short_work():
    log = Told()
    with doing("starting", Console(file=log)):
        pass
    assert log.getvalue() == ""


def test_what_fails_still_ends_the_lines():
    log, before = Told(), threading.active_count()
    with pytest.raises(ValueError, match="no"), doing("starting", Console(file=log)):
        raise ValueError("no")
    assert threading.active_count() == before


def test_a_terminal_shows_it_above_a_bar():
    screen = Told()
    console = Console(file=screen, force_terminal=True, width=80, legacy_windows=False)
    with Progress("step", 2, console=console) as progress:
        progress.update(1)
        with doing("writing the checkpoint", console):
            while "writing the checkpoint" not in screen.getvalue():
                screen.has_come.clear()
                assert screen.has_come.wait(60)
        progress.update(2)
    assert "2/2" in screen.getvalue()
