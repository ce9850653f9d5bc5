"""What a run's folder says so far, kept up while the run writes to it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from keomni_rl.config import EvaluateConfig, RunConfig, load_config, read_mapping
from keomni_rl.config.run_dir import last_name
from keomni_rl.errors import ConfigError, DataError
from keomni_rl.evaluation.summary import Summary, read_summary
from keomni_rl.observe.watch.growing import GrowingLines
from keomni_rl.storage.following import FollowedFolder
from keomni_rl.storage.store import refused, told

CONFIG, METRICS, EVENTS = "config.yaml", "metrics.jsonl", "events.jsonl"
SUMMARY, PREDICTIONS = "summary.json", "predictions.jsonl"
WANTED = {CONFIG, METRICS, EVENTS, SUMMARY, PREDICTIONS}


class WatchedFolder:
    """A training's or an evaluation's folder on this machine; `update` reads what is new.

    Args:
        folder: of the run.
        place: where a reader thinks that it is: the folder, or the URL that it is a copy of.
        follow: what keeps the copy up.
    """

    def __init__(self, folder: Path, place: Path | str, follow: FollowedFolder | None) -> None:
        self.place = place
        self.config: RunConfig | EvaluateConfig | None = None
        """None before the run has written one that this version reads; `notes` say so."""
        self.summaries: list[Summary] = []
        """Evaluations that have ended, by policy version."""
        self.notes: list[str] = []
        """What a reader should know."""
        self._folder = folder
        self._follow = follow
        self._has_read = False
        self._lines: dict[str, GrowingLines] = {}
        self._read: dict[Path, tuple[int, Summary | str]] = {}
        self._config_time = 0

    @property
    def name(self) -> str:
        """What the run is called."""
        return last_name(self.place) or str(self.place)

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """One object a step, in order."""
        return self._objects(METRICS)

    @property
    def events(self) -> list[dict[str, Any]]:
        """What has happened, in order."""
        return self._objects(EVENTS)

    def _objects(self, name: str) -> list[dict[str, Any]]:
        return self._growing(name).objects

    def _growing(self, name: str) -> GrowingLines:
        return self._lines.setdefault(name, GrowingLines(self._folder / name))

    def num_answered(self, name: str = "") -> int:
        """Questions answered so far.

        Args:
            name: of an evaluation during training, as ``step_000100``; else of the folder itself.
        """
        file = f"evaluation/{name}/{PREDICTIONS}" if name else PREDICTIONS
        growing = self._growing(file)
        growing.update()
        return len(growing.objects)

    def written(self) -> float | None:
        """When the run last wrote, by the clock of its own lines; None before the first one."""
        times = [line.get("time") for lines in (self.metrics, self.events) for line in lines[-1:]]
        times += [path.stat().st_mtime for path in self._folder.rglob(PREDICTIONS)]
        return max((t for t in times if isinstance(t, (int, float))), default=None)

    def update(self) -> None:
        """Read what has come since the last time.

        Raises:
            ConfigError: the store refuses; once it has been read, an outage is one of the `notes`.
            DataError: the folder is none of a run, or may not be read.
        """
        self.notes = []
        if self._follow:
            self._fetch(self._follow)
        elif not self._has_read:
            _refuse_other_folder(self._folder)
        self._has_read = True
        self._read_config()
        for name in (METRICS, EVENTS):
            growing = self._growing(name)
            growing.update()
            if growing.num_unreadable:
                self.notes.append(f"{name}: {growing.num_unreadable} unreadable lines")
        self._read_summaries()

    def _fetch(self, follow: FollowedFolder) -> None:
        try:
            follow.update()
        except OSError as error:
            if not self._has_read:
                raise refused(str(self.place), error) from error
            self.notes.append(f"the store is away ({told(error)})")

    def _read_config(self) -> None:
        path = self._folder / CONFIG
        if not path.is_file():
            return
        if (changed := path.stat().st_mtime_ns) == self._config_time and self.config:
            return
        self._config_time = changed
        try:
            if "train" in read_mapping(path):
                self.config = load_config(RunConfig, [str(path)])
            else:
                self.config = load_config(EvaluateConfig, [str(path)])
        except ConfigError as error:
            first = str(error).splitlines()[0]
            self.notes.append(f"config.yaml is half written or of another version ({first})")

    def _read_summaries(self) -> None:
        found = [self._folder / SUMMARY, *self._folder.glob(f"evaluation/step_*/{SUMMARY}")]
        for path in found:
            try:
                changed = path.stat().st_mtime_ns
                if self._read.get(path, (0, ""))[0] != changed:
                    self._read[path] = (changed, read_summary(path))
            except FileNotFoundError:  # none, or dropped by a resumption
                self._read.pop(path, None)
            except DataError as error:
                self._read[path] = (changed, str(error))
        self._read = {path: self._read[path] for path in sorted(found) if path in self._read}
        known = [summary for _, summary in self._read.values()]
        self.summaries = [summary for summary in known if isinstance(summary, Summary)]
        self.notes += [summary for summary in known if isinstance(summary, str)]


@contextmanager
def watched(place: Path | str) -> Iterator[WatchedFolder]:
    """A run's folder or URL to be watched; of a URL a copy is kept meanwhile.

    Raises:
        ConfigError: the URL is none that a store takes.
    """
    if isinstance(place, Path):
        yield WatchedFolder(place, place.absolute(), None)
        return
    with TemporaryDirectory() as temp:
        follow = FollowedFolder(
            place,
            Path(temp),
            folders=("evaluation",),
            is_wanted=lambda name: name.rpartition("/")[2] in WANTED,
        )
        yield WatchedFolder(Path(temp), place, follow)


def _refuse_other_folder(folder: Path) -> None:
    """See that a folder is a run's, or still empty as one that is just made."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; give the folder of a run, or its URL")
    try:
        names = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
    except OSError as error:
        raise DataError(
            f"{folder}: cannot be read ({error.strerror or error}); watch as a user who may"
        ) from error
    if names and not names & {CONFIG, METRICS, EVENTS}:
        raise DataError(
            f"{folder}: no run's folder (none of {CONFIG}, {METRICS} and {EVENTS} in it); give the "
            "folder that `keomni-rl train` or `evaluate` writes to"
        )
