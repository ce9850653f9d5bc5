"""Clips inside a page: 16 kHz mono MP3 as base64, as many as the page may hold."""

import base64
import io
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import soundfile

from keomni_rl.data.audio import SAMPLE_RATE_HZ, read_samples
from keomni_rl.errors import DataError

LONGEST_CLIP_S = 300.0
COMPRESSION = 0.6
"""Of libsndfile's MP3, 0 to 1 at a variable rate: 28 to 35 kbit a second for most clips."""
DEFAULT_LIMIT_MB = 64
MB = 1_000_000


@dataclass(frozen=True)
class Embedding:
    """Which clips a page gets."""

    audio: Literal["all", "wrong", "none"] = "all"
    """``wrong``: only those of wrong answers, which come first in any case."""
    limit_mb: float = DEFAULT_LIMIT_MB
    """Megabytes of the page that they may take."""


ALL_CLIPS = Embedding()


@dataclass
class Sounds:
    """Clips by their path, and why there is none of a path that was asked for."""

    clips: dict[str, str] = field(default_factory=dict)
    """Path -> base64 of an MP3 file."""
    problems: dict[str, str] = field(default_factory=dict)
    left_out: int = 0
    """Clips that the limit left no room for."""

    @property
    def megabytes(self) -> float:
        """Of the page, that the clips take."""
        return sum(map(len, self.clips.values())) / MB

    @cached_property
    def ids(self) -> dict[str, str]:
        """Path -> id of the page's element that holds the clip."""
        return {path: f"clip-{number}" for number, path in enumerate(self.clips)}

    def shown(self, path: str, audio: str) -> dict[str, str | None]:
        """What a row of the page says of a clip: the element that holds it, or why there is none.

        Args:
            path: of the clip; "" where it is not known.
            audio: which clips were asked for.
        """
        if path in self.ids:
            return {"clip": self.ids[path], "silent": None}
        unknown = "its file is not known"
        left_out = f"left out by --audio {audio}" if path and audio != "all" else unknown
        return {"clip": None, "silent": self.problems.get(path, left_out)}


def embed_sounds(paths: Iterable[str], limit_mb: float) -> Sounds:
    """Encode clips until the page is full.

    Args:
        paths: the most wanted first; one that occurs again is the same clip.
        limit_mb: megabytes of the page, in base64.
    """
    wanted = list(dict.fromkeys(paths))
    sounds, room = Sounds(), limit_mb * MB
    with ThreadPoolExecutor() as pool:
        for path, encoded in zip(wanted, pool.map(_encoded, wanted), strict=True):
            if isinstance(encoded, DataError):
                sounds.problems[path] = str(encoded)
            elif len(encoded) <= room:
                room -= len(encoded)
                sounds.clips[path] = encoded
            else:
                pool.shutdown(wait=False, cancel_futures=True)
                _leave_out(sounds, wanted, limit_mb)
                break
    return sounds


def sound_notes(sounds: Sounds, embedding: Embedding) -> list[str]:
    """What a reader should know of clips that are not in the page."""
    held = f"{len(sounds.clips):,} clips are in this page ({sounds.megabytes:.1f} MB of it)"
    if sounds.left_out:
        return [
            f"{held}, those of wrong answers first; {sounds.left_out:,} more would go beyond "
            f"{embedding.limit_mb:g} MB (--audio-mb)."
        ]
    if embedding.audio == "wrong":
        return [f"{held}, of wrong answers only (--audio wrong)."]
    return ["No clips are in this page (--audio none)."] if embedding.audio == "none" else []


def _leave_out(sounds: Sounds, wanted: Sequence[str], limit_mb: float) -> None:
    rest = [p for p in wanted if p not in sounds.clips and p not in sounds.problems]
    sounds.left_out = len(rest)
    sounds.problems |= dict.fromkeys(rest, f"the page has its {limit_mb:g} MB of sound already")


def _encoded(path: str) -> str | DataError:
    try:
        samples = read_samples(path, max_audio_s=LONGEST_CLIP_S)
    except DataError as error:
        return error
    encoded = io.BytesIO()
    soundfile.write(
        encoded,
        samples,
        SAMPLE_RATE_HZ,
        format="MP3",
        subtype="MPEG_LAYER_III",
        bitrate_mode="VARIABLE",
        compression_level=COMPRESSION,
    )
    return base64.b64encode(encoded.getvalue()).decode()
