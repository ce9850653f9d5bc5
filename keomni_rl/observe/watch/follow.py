"""Watches a run until it is over: a screen that is drawn anew on a terminal, lines in a log."""

import time
from pathlib import Path

from rich.console import Console
from rich.live import Live

from keomni_rl.observe.progress import step_figures
from keomni_rl.observe.watch.folder import WatchedFolder, watched
from keomni_rl.observe.watch.screen import Screen, duration
from keomni_rl.observe.watch.snapshot import Snapshot, take_snapshot

HINT = "Ctrl-C leaves; the run goes on"


def look(place: Path | str) -> Snapshot:
    """A run as it is now.

    Raises:
        ConfigError: the store refuses.
        DataError: there is no such folder, or it is none of a run.
    """
    with watched(place) as run:
        run.update()
        return take_snapshot(run, time.time())


def follow(place: Path | str, console: Console, *, interval_s: float) -> Snapshot:
    """Show a run until it is over.

    Args:
        place: folder or URL.
        console: to show it on; one that is no terminal, or a dumb one, gets lines.
        interval_s: seconds between two looks.

    Returns:
        How it was at the end.

    Raises:
        ConfigError, DataError: as `look`.
    """
    with watched(place) as run:
        if console.is_terminal and not console.is_dumb_terminal:
            shot = _on_screen(run, console, interval_s)
            console.print(Screen(shot))
            return shot
        return _in_lines(run, console, interval_s)


def _on_screen(run: WatchedFolder, console: Console, interval_s: float) -> Snapshot:
    run.update()
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            shot = take_snapshot(run, time.time())
            live.update(Screen(shot, height=console.height, hint=HINT), refresh=True)
            if shot.is_over:
                return shot
            time.sleep(interval_s)
            run.update()


def _in_lines(run: WatchedFolder, console: Console, interval_s: float) -> Snapshot:
    log = Log(console)
    while True:
        run.update()
        shot = take_snapshot(run, time.time())
        log.tell(shot, [line for line in run.metrics if isinstance(line.get("step"), int)])
        if shot.is_over:
            return shot
        time.sleep(interval_s)


class Log:
    """Lines about what is new since the last ones: steps, events, and how the run is."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._state: str | None = None
        self._step = 0
        self._told_at = 0.0
        self._notes: tuple[str, ...] = ()

    def tell(self, shot: Snapshot, steps: list[dict[str, float]]) -> None:
        """Print what is new in a snapshot."""
        if self._state is None:
            self._print(f"{shot.name}: {shot.place}")
            self._step = max(0, shot.step - 1)  # of steps that are long done the last one
            self._told_at = max((e.time for e in shot.events[:-1]), default=0.0)
        for note in shot.notes:
            if note not in self._notes:
                self._print(f"note: {note}")
        self._notes = shot.notes
        if shot.step < self._step:
            self._print(f"taken back to step {shot.step}")
            self._step = shot.step
        lines = [(event.time, f"{event.clock}  {event.text}") for event in shot.events]
        for line in steps:
            if line["step"] > self._step:
                lines.append((float(line["time"]), self._of_step(line, shot)))
        for at, text in sorted(lines):
            if at > self._told_at or text.startswith("step"):
                self._print(text)
        self._told_at = max([self._told_at, *(event.time for event in shot.events)])
        self._step = shot.step
        if shot.state != self._state and (words := _state(shot, self._state)):
            self._print(words)
        self._state = shot.state

    def _of_step(self, line: dict[str, float], shot: Snapshot) -> str:
        of_all = "" if shot.max_steps is None else f"/{shot.max_steps}"
        parts = [f"step {line['step']}{of_all}", step_figures(line)]
        if line["step"] == shot.step and shot.left_s:
            parts.append(f"{duration(shot.left_s)} left")
        return "  ".join(part for part in parts if part)

    def _print(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


def _state(shot: Snapshot, before: str | None) -> str:
    """What no event says of how the run is."""
    if shot.state == "waiting":
        return f"waiting: nothing has been written to {shot.place} yet"
    if shot.state == "stale" and shot.quiet_s is not None:
        return f"stale: nothing has been written for {duration(shot.quiet_s)}"
    return "it writes again" if before == "stale" and shot.state == "going on" else ""
