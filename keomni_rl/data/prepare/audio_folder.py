"""Finds the clips of a raw download, and sees to it that training will be able to read them."""

import os
from pathlib import Path

from keomni_rl.data.prepare.raw_rows import UnusableRowError
from keomni_rl.errors import DataError

SUFFIXES = (".wav", ".flac", ".mp3", ".ogg", ".opus")
"""Of sound files that can be decoded, in the order they are looked for."""


class AudioFolder:
    """Clips inside a folder, named as a file of questions is to name them.

    Training reads no audio outside the folder of the questions, so the clips must lie inside it.
    """

    def __init__(self, root: Path, out: Path) -> None:
        """Check that clips can be named.

        Args:
            root: folder of the clips.
            out: the file of questions to be.

        Raises:
            DataError: no such folder, or it is not inside the folder of ``out``.
        """
        if not root.is_dir():
            raise DataError(f"{root}: no such folder; give the folder of the audio files")
        self.root = root.resolve()
        self.base = out.parent.resolve()
        if not self.root.is_relative_to(self.base):
            raise DataError(
                f"--out {out}: the audio lies in {self.root}, outside the folder of the questions, "
                f"where training would not read it; use --out {self.root.parent / out.name}"
            )
        self._prefix = self.root.relative_to(self.base)
        self.num_found = 0
        self.tried: tuple[str, ...] = ()
        """Names under which the first missing clip was looked for."""
        self.elsewhere = ""
        """The first clip that is a link out of the questions' folder."""

    def find(self, *names: str) -> str:
        """The first of ``names`` that is a file with content, relative to the questions' folder.

        Raises:
            UnusableRowError: there is none, it is empty, or a link that leads elsewhere.
        """
        for name in names:
            path = self.root / name
            if not os.path.isfile(path):
                continue
            if not path.resolve().is_relative_to(self.base):
                self.elsewhere = self.elsewhere or name
                raise UnusableRowError("audio elsewhere", f"{name} leads out of {self.base}")
            if path.stat().st_size == 0:
                raise UnusableRowError("audio empty", f"{name} has 0 bytes")
            self.num_found += 1
            return (self._prefix / name).as_posix()
        self.tried = self.tried or names
        raise UnusableRowError("audio missing", f"tried {', '.join(names)}")

    @property
    def complaint(self) -> str:
        """What to tell a user none of whose clips can be used; empty if some can."""
        if self.num_found:
            return ""
        if self.elsewhere:
            return (
                f"every clip, such as {self.elsewhere}, is a link that leads out of {self.base}, "
                "where training would not read it; copy the files (cp -rL) or download them to a "
                "plain folder"
            )
        if self.tried:
            return (
                f"no audio found in {self.root}; for example looked for {', '.join(self.tried)}; "
                "give the right --audio"
            )
        return ""


def with_suffixes(stem: str) -> tuple[str, ...]:
    """The names that a clip may have: its stem with each suffix of a sound file."""
    return tuple(stem + suffix for suffix in SUFFIXES)
