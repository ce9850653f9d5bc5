"""Decoding: a generated clip in each format that questions may come with."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile

from keomni_rl.data.audio import SAMPLE_RATE_HZ, read_samples
from keomni_rl.doctor.finding import Finding, failure, ok
from keomni_rl.errors import DataError

AREA = "engines"
FORMATS = {"wav": "PCM_16", "flac": "PCM_16", "ogg": "VORBIS", "mp3": "MPEG_LAYER_III"}
RATE_HZ = 44_100
SECONDS = 0.5
TONE_HZ = 440.0
WITHIN_HZ = 5.0


def probe() -> Iterator[Finding]:
    """One finding of all that decode, and one of each format that does not."""
    decoded = []
    with tempfile.TemporaryDirectory() as folder:
        for name, subtype in FORMATS.items():
            if trouble := check_format(Path(folder) / f"tone.{name}", subtype):
                yield failure(
                    AREA,
                    f"sound in {name}",
                    trouble,
                    "`pip install --force-reinstall soundfile` brings libsndfile 1.2; one of the "
                    "system's that is older may be in its way",
                )
            else:
                decoded.append(name)
    library = soundfile.__libsndfile_version__
    yield ok(AREA, "sound", f"{', '.join(decoded)} decoded by libsndfile {library}, resampled")


def check_format(path: Path, subtype: str) -> str | None:
    """Write a tone, read it as the audio actor does, and hear whether it is the same tone."""
    times = np.arange(int(SECONDS * RATE_HZ)) / RATE_HZ
    try:
        soundfile.write(path, 0.5 * np.sin(2 * np.pi * TONE_HZ * times), RATE_HZ, subtype=subtype)
        samples = read_samples(str(path), max_audio_s=30)
    except (soundfile.LibsndfileError, DataError, ValueError, TypeError) as error:
        return f"cannot be written and read: {error!s:.160}"
    strongest = np.argmax(np.abs(np.fft.rfft(samples))) * SAMPLE_RATE_HZ / len(samples)
    if abs(strongest - TONE_HZ) > WITHIN_HZ:
        return f"a tone of {TONE_HZ:g} Hz is read as one of {strongest:.0f} Hz"
    return None
