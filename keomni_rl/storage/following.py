"""A run's folder at a URL while it grows: a copy of some of its files, of which only news is read.

A file of lines that has only grown is read from where the copy ends. Object stores have no append
(`keomni_rl.storage.mirror` uploads a file whole), so that this holds is looked at: the copy's last
line has to be where it was. Other files are read whole when their size or time has changed.
"""

from collections.abc import Callable
from pathlib import Path

from keomni_rl.storage.store import Stamp, Store

LINES = ".jsonl"


class FollowedFolder:
    """A copy that `update` brings up to what the store holds.

    Args:
        url: of the folder.
        copy: where the copy goes.
        folders: of the URL, whose files are looked at beside those at its top; `is_wanted` is
            asked of each.
        is_wanted: whether a file, named relative to the URL, belongs to the copy.

    Raises:
        ConfigError: the URL is none that pyarrow takes.
        OSError: from `update`: the store is away, or refuses.
    """

    def __init__(
        self,
        url: str,
        copy: Path,
        *,
        folders: tuple[str, ...] = (),
        is_wanted: Callable[[str], bool] = lambda _: True,
    ) -> None:
        self.copy = copy
        self._store = Store(url)
        self._folders = folders
        self._is_wanted = is_wanted
        self._known: dict[str, Stamp] = {}

    def update(self) -> None:
        """Fetch what has changed, and take away what is gone."""
        found = self._store.stamps(is_deep=False)
        for folder in self._folders:
            found |= self._store.stamps(folder)
        found = {name: stamp for name, stamp in found.items() if self._is_wanted(name)}
        for name in self._known.keys() - found.keys():
            (self.copy / name).unlink(missing_ok=True)
            del self._known[name]
        for name, stamp in found.items():
            if self._known.get(name) != stamp and self._fetch(name):
                self._known[name] = stamp

    def _fetch(self, name: str) -> bool:
        """Whether it was still there."""
        file = self.copy / name
        if name.endswith(LINES) and file.exists() and self._append(name, file):
            return True
        content = self._store.read(name)
        if content is None:
            return False
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        return True

    def _append(self, name: str, file: Path) -> bool:
        """Whether the file begins as its copy, which then ends as the file."""
        held = file.read_bytes()
        last = held[held.rstrip(b"\n").rfind(b"\n") + 1 :]
        news = self._store.read(name, start=len(held) - len(last))
        if news is None or not last or not news.startswith(last):
            return False
        with file.open("ab") as out:
            out.write(news[len(last) :])
        return True
