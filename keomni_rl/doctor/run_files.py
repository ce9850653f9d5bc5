"""What of a run's folder a bug report takes, read within bounds: the newest of each file.

Only regular files are read: a link or a pipe in the folder may lead anywhere.
"""

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from keomni_rl.doctor.scrub import leaves

MAX_BYTES = 2**20
"""Of one file."""
MAX_LOG_BYTES = 2**16
MAX_LOGS = 100
MAX_TEXT_BYTES = 2**24
"""Of one file of rollouts or predictions, read for the texts in it."""
NUM_ROLLOUTS = 3
"""Newest steps whose rollouts are taken, if they are."""
NUM_METRICS = 200
"""Newest steps."""
LOGS = (".log", ".out", ".err")
TEXT_NAMES = frozenset({"question", "prompt", "text", "model_output", "model_output_raw"})
SESSION = re.compile(r"session_(?P<time>\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d_\d+)_\d+")
SESSION_BEFORE_S = 600
"""A run starts Ray at most so long before it says that it starts."""
VARIABLE_NAMES = ("api_key_env",)
"""Settings that name the environment variable of a secret."""


@dataclass(frozen=True)
class RunFiles:
    """What was read; nothing is scrubbed yet."""

    config: Any = None
    """A tree; text if it is no YAML."""
    events: list[dict[str, Any]] = field(default_factory=list)
    metrics: list[dict[str, Any]] = field(default_factory=list)
    rollouts: list[dict[str, Any]] = field(default_factory=list)
    logs: dict[str, str] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)
    """Questions, prompts and completions, to be kept out of the others."""
    secret_variables: list[str] = field(default_factory=list)
    """Environment variables that the configuration names as a secret's."""


def read_run(folder: Path, *, texts: bool) -> RunFiles:
    """Read a run's or an evaluation's folder.

    Args:
        folder: of it.
        texts: whether rollouts are wanted too.
    """
    config = _config(folder / "config.yaml")
    events = _lines(folder / "events.jsonl", MAX_BYTES)
    rollouts = sorted((folder / "rollouts").glob("step_*.jsonl"))
    logs = [path for place in (folder, folder / "logs") for path in _logs(place)]
    if session := ray_session(_ray_folder(), events):
        logs += _logs(session / "logs")
    return RunFiles(
        config=config,
        events=events,
        metrics=_lines(folder / "metrics.jsonl", MAX_BYTES)[-NUM_METRICS:],
        rollouts=[line for path in rollouts[-NUM_ROLLOUTS:] for line in _lines(path, MAX_BYTES)]
        if texts
        else [],
        logs={
            f"{path.parent.parent.name}/{path.name}" if path.parent.name == "logs" else path.name: (
                _tail(path, MAX_LOG_BYTES)
            )
            for path in logs[:MAX_LOGS]
        },
        texts=list(_texts(folder)),
        secret_variables=[
            str(value) for name, value in leaves(config) if name in VARIABLE_NAMES and value
        ],
    )


def ray_session(root: Path, events: list[dict[str, Any]]) -> Path | None:
    """The folder of the Ray that the newest start of a run has started on this machine, if any.

    Args:
        root: where Ray keeps its sessions.
        events: of the run.
    """
    starts = [event.get("time") for event in events if event.get("event") == "start"]
    newest = starts[-1] if starts else None
    if not isinstance(newest, int | float) or not root.is_dir():
        return None
    begun = {path: _begun(path.name) for path in root.iterdir() if not path.is_symlink()}
    before = {path: at for path, at in begun.items() if 0 <= newest - at <= SESSION_BEFORE_S}
    return max(before, key=before.__getitem__, default=None)


def _ray_folder() -> Path:
    return Path(os.environ.get("RAY_TMPDIR", "/tmp")) / "ray"


def _begun(name: str) -> float:
    """When a session began, in seconds since 1970; minus infinity for what is no session."""
    found = SESSION.fullmatch(name)
    if not found:
        return float("-inf")
    return datetime.strptime(found["time"], "%Y-%m-%d_%H-%M-%S_%f").timestamp()


def _config(path: Path) -> Any:
    text = _tail(path, MAX_BYTES)
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def _lines(path: Path, max_bytes: int) -> list[dict[str, Any]]:
    """The newest objects of a JSONL file; what is none is left out."""
    found = []
    for line in _tail(path, max_bytes).splitlines():
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            found.append(value)
    return found


def _logs(folder: Path) -> list[Path]:
    """A folder's logs, the newest first."""
    found = [
        path
        for path in folder.glob("*")
        if path.suffix in LOGS and _is_plain(path) and path.stat().st_size
    ]
    return sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)


def _tail(path: Path, max_bytes: int) -> str:
    """A file's last whole lines; a line that is cut could not be told to hold a secret."""
    if not _is_plain(path):
        return ""
    with path.open("rb") as file:
        cut = max(0, file.seek(0, os.SEEK_END) - max_bytes)
        file.seek(cut)
        content = file.read(max_bytes)
    if cut:
        content = content.partition(b"\n")[2]
    return content.decode(errors="replace")


def _is_plain(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _texts(folder: Path) -> Iterator[str]:
    files = (
        *folder.glob("rollouts/*.jsonl"),
        *folder.glob("failed_batches/*.jsonl"),
        *folder.glob("evaluation/*/predictions.jsonl"),
        folder / "predictions.jsonl",
    )
    for path in files:
        for line in _lines(path, MAX_TEXT_BYTES):
            for name, value in leaves(line):
                if name in TEXT_NAMES and isinstance(value, str):
                    yield value
