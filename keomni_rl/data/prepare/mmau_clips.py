"""Writes MMAU's clips: real wav files untouched, other streams under the name of a wav decoded.

A file is told by its content, never by its name. It is written aside and renamed, so that a name in
the folder always stands for a whole file.
"""

import io
import os
import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

import soundfile

from keomni_rl.errors import DataError

WAV_FORMATS = ("WAV", "WAVEX", "RF64")
MISSING = "clip missing"
UNREADABLE = "clip cannot be decoded, kept as it is"
TOO_LONG = "clip too long to be decoded, kept as it is"
MAX_SAMPLES = 2**26
"""Of a stream that is decoded, over all channels: some minutes. A small file may hold many more."""


class ClipFolder:
    """A folder of clips that is being filled, and the file beside it; use as a context."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._origins: dict[str, Path] = {}
        self.num_written = 0

    def __enter__(self) -> Self:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._aside = tempfile.TemporaryDirectory(
                dir=self._folder.parent, prefix=".partial-", ignore_cleanup_errors=True
            )
        except OSError as error:
            raise DataError(
                f"{self._folder}: cannot be made ({error.strerror}); choose another --out"
            ) from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._aside.cleanup()

    def write(self, name: str, clip: bytes | Path | None) -> str:
        """Put a clip in place and say what was odd about it; nothing if it is plain.

        Args:
            name: of the file to be.
            clip: its content, or the file it is to be a copy (where possible a hard link) of.

        Raises:
            DataError: two different files are to have one name, or the disk does not take it.
        """
        if clip is None:
            return MISSING
        if isinstance(clip, Path) and self._origins.setdefault(name, clip) != clip:
            raise DataError(
                f"{self._origins[name]} and {clip} are two clips of one name; rename one of them"
            )
        self.num_written += 1
        content, odd = _told(name, clip)
        self.put(self._folder / name, content)
        return odd

    def put(self, target: Path, content: bytes | Path) -> None:
        """Write a file whole or not at all.

        Raises:
            DataError: the disk does not take it.
        """
        if isinstance(content, Path) and target.exists() and target.samefile(content):
            return
        aside = Path(self._aside.name) / target.name
        try:
            _place(aside, content)
            os.replace(aside, target)
        except OSError as error:
            raise DataError(
                f"{target}: cannot be written ({error.strerror}); make room or choose another "
                "--out, then run this again"
            ) from error


def _place(path: Path, clip: bytes | Path) -> None:
    if isinstance(clip, bytes):
        path.write_bytes(clip)
        return
    try:
        os.link(clip, path)
    except OSError:
        shutil.copyfile(clip, path)


def _told(name: str, clip: bytes | Path) -> tuple[bytes | Path, str]:
    """What a clip is to be written as, and what is odd about it.

    The head of a damaged file may be sound, so that it is only found out while it is decoded.
    """
    try:
        info = soundfile.info(_source(clip))
        if info.format in WAV_FORMATS or not name.lower().endswith(".wav"):
            return clip, ""
        if info.frames * info.channels > MAX_SAMPLES:
            return clip, TOO_LONG
        return _as_wav(clip), f"{info.format} stream under the name of a wav, decoded"
    except (soundfile.LibsndfileError, TypeError):  # the second for a name in .raw
        return clip, UNREADABLE


def _as_wav(clip: bytes | Path) -> bytes:
    samples, rate_hz = soundfile.read(_source(clip), dtype="float32", always_2d=True)
    wav = io.BytesIO()
    soundfile.write(wav, samples, rate_hz, format="WAV", subtype="PCM_16")
    return wav.getvalue()


def _source(clip: bytes | Path) -> io.BytesIO | str:
    return io.BytesIO(clip) if isinstance(clip, bytes) else str(clip)
