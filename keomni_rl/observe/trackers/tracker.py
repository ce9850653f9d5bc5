"""What every tracker does, and how a resumed run finds what it began there."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

IDS = "trackers.json"
"""In the run folder: tracker -> its name of this run."""


class Tracker(Protocol):
    """One place that a run's metrics are shown at."""

    def show(self, step: int, metrics: Mapping[str, float]) -> None:
        """Show metrics of a step, which need not be the newest; returns without waiting."""

    def close(self, *, is_ok: bool) -> None:
        """Hand over what is left, and say how the run ended."""


def known_id(run_dir: Path, tracker: str) -> str | None:
    """The name that a tracker has for the run of a folder; None for a new one."""
    return _ids(run_dir).get(tracker)


def keep_id(run_dir: Path, tracker: str, name: str) -> None:
    """Note it, for a resumption."""
    path = run_dir / IDS
    aside = path.with_suffix(".tmp")
    aside.write_text(json.dumps(_ids(run_dir) | {tracker: name}, indent=2) + "\n")
    aside.replace(path)


def _ids(run_dir: Path) -> dict[str, str]:
    path = run_dir / IDS
    return dict(json.loads(path.read_text())) if path.exists() else {}
