"""From a sound file to what the model hears: 16 kHz mono samples and their log-mel spectrogram.

Decoded once and turned into features once for every consumer. The limits are checked on the file's
header before anything is decoded, so a header that lies cannot make us allocate.
"""

import os
from functools import cache
from pathlib import Path

import numpy as np
import soundfile
import soxr

from keomni_rl.errors import DataError
from keomni_rl.types import Clip, FloatArray

SAMPLE_RATE_HZ = 16_000
NUM_MEL_BINS = 128
HOP = 160
"""Samples between two mel frames: 10 ms."""
WINDOW = 400
TAIL_FRAMES = 2
"""Mel frames that begin after a clip's end and still reach back into it."""
LONGEST_WINDOW_S = 300.0
"""What a feature extractor pads clips to, unless a model's own is shorter."""
MAX_CHANNELS = 8
FILE_RATES_HZ = (4_000, 192_000)
MIN_SECONDS = 0.1
"""A shorter clip has no audio embedding of its own after the tower's pooling."""
LOUDEST = 2.0**31
"""Full scale of samples that are whole numbers; the power of louder ones overflows in float32."""
FRAMES_AT_ONCE = 2**18
"""Decoded at a time, so that channels that are not heard take little memory."""


def load_clip(path: str, *, max_audio_s: float, window_s: float = LONGEST_WINDOW_S) -> Clip:
    """Decode a file and compute its features.

    Args:
        path: a regular file that libsndfile reads.
        max_audio_s: longest clip allowed.
        window_s: see `log_mel`.

    Raises:
        DataError: missing, unreadable, truncated, empty, too long, or samples that are no numbers.
    """
    samples = read_samples(path, max_audio_s=max_audio_s)
    return Clip(samples=samples, mel=log_mel(samples, window_s))


def read_samples(path: str, *, max_audio_s: float) -> FloatArray:
    """Decode to mono (mean of the first two channels, as Ke-Omni-R) at 16 kHz: float32 [N]."""
    info = check_header(path, max_audio_s=max_audio_s)
    try:
        with soundfile.SoundFile(path) as file:
            starts = range(0, info.frames, FRAMES_AT_ONCE)
            mono = np.concatenate([_read_mono(file, path) for _ in starts])
    except soundfile.LibsndfileError as error:
        raise DataError(
            f"{path}: cannot be decoded ({error}); check or replace the file"
        ) from error
    if len(mono) < info.frames:
        raise DataError(
            f"{path}: truncated, its header promises {info.frames} frames and {len(mono)} are "
            "there; copy the file again"
        )
    if info.samplerate != SAMPLE_RATE_HZ:
        mono = soxr.resample(mono, info.samplerate, SAMPLE_RATE_HZ)
    return np.ascontiguousarray(mono, np.float32)


def _read_mono(file: soundfile.SoundFile, path: str) -> FloatArray:
    frames = file.read(FRAMES_AT_ONCE, dtype="float32", always_2d=True)
    if not (np.abs(frames) <= LOUDEST).all():
        raise DataError(
            f"{path}: holds samples that are NaN, infinite or beyond {LOUDEST:g}; replace the file"
        )
    return frames[:, :2].mean(axis=1, dtype=np.float32)


def check_header(path: str, *, max_audio_s: float) -> "soundfile._SoundFileInfo":
    """Look at a file's header only.

    Raises:
        DataError: not a regular readable sound file, or outside the limits.
    """
    if not os.path.exists(path):
        raise DataError(f"{path}: no such audio file; correct the path in the questions file")
    if not os.path.isfile(path):
        raise DataError(f"{path}: not a regular file; give the path of a sound file")
    if os.path.getsize(path) == 0:
        raise DataError(f"{path}: empty audio file (0 bytes); copy or record it again")
    try:
        info = soundfile.info(path)
    except (soundfile.LibsndfileError, TypeError) as error:  # the second for a name in .raw
        raise DataError(
            f"{path}: not a sound file that can be read ({error}); wanted wav, flac, ogg or mp3"
        ) from error
    low, high = FILE_RATES_HZ
    if not low <= info.samplerate <= high:
        raise DataError(f"{path}: sample rate {info.samplerate} Hz, wanted {low} to {high} Hz")
    if (missing := _missing_bytes(path)) > 0:
        raise DataError(
            f"{path}: truncated, {missing} bytes fewer than its header promises; copy it again"
        )
    if info.channels > MAX_CHANNELS:
        raise DataError(f"{path}: {info.channels} channels, wanted at most {MAX_CHANNELS}")
    if info.duration < MIN_SECONDS:
        raise DataError(f"{path}: {info.duration:.3f} s long, wanted at least {MIN_SECONDS} s")
    if info.duration > max_audio_s:
        raise DataError(
            f"{path}: {info.duration:.1f} s long, the limit is {max_audio_s:g} s; cut the file or, "
            "where the model hears more, raise max_audio_s"
        )
    return info


def _missing_bytes(path: str) -> int:
    """How many bytes a RIFF file lacks; libsndfile reads a shortened one without a word."""
    with Path(path).open("rb") as file:
        head = file.read(8)
    size = int.from_bytes(head[4:8], "little")
    is_unknown = size in (0, 0xFFFFFFFF)  # written as a stream, before the size was known
    if head[:4] != b"RIFF" or is_unknown:
        return 0
    return size + 8 - Path(path).stat().st_size


def log_mel(samples: FloatArray, window_s: float = LONGEST_WINDOW_S) -> FloatArray:
    """Whisper's log-mel spectrogram of a clip: float32 [128, ceil(N / 160) + TAIL_FRAMES].

    Equal to what the engine's extractor computes, which pads the clip with silence to its window
    first: so the frames at the end look into silence, those at the start (and, where the clip
    fills the window, at the end) into the reflected clip. The tail is kept since a convolution
    over the clip's last frames sees it. Source: Radford et al. 2022, arXiv 2212.04356, section 2.2.

    Args:
        samples: mono at 16 kHz.
        window_s: what the model's extractor pads to.
    """
    num_window = round(window_s * SAMPLE_RATE_HZ)
    num_own = -(-len(samples) // HOP)
    num_frames = min(num_own + TAIL_FRAMES, max(num_own, num_window // HOP))
    reach = WINDOW // 2 + TAIL_FRAMES * HOP
    padded = np.pad(samples, (0, min(reach, max(0, num_window - len(samples)))))
    padded = np.pad(np.pad(padded, WINDOW // 2, mode="reflect"), (0, reach)).astype(np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP][:num_frames]
    spectrum = np.fft.rfft(frames * _window(), axis=1)
    power = spectrum.real**2 + spectrum.imag**2
    mel = np.log10(np.maximum(power @ _mel_filters(), 1e-10))
    mel = (np.maximum(mel, mel.max() - 8.0) + 4.0) / 4.0
    beyond_window = num_own + TAIL_FRAMES - num_frames
    return np.pad(mel, ((0, beyond_window), (0, 0))).T.astype(np.float32, order="C")


def num_audio_tokens(num_frames: int) -> int:
    """Audio embeddings of a clip, about 25 a second: two strides of 2 over mel frames."""
    return ((num_frames - 1) // 2 + 1 - 2) // 2 + 1


@cache
def _window() -> np.ndarray:
    return np.hanning(WINDOW + 1)[:-1]


@cache
def _mel_filters() -> np.ndarray:
    """Slaney's triangular filters, [201, 128], each of unit area."""
    bins_hz = np.linspace(0, SAMPLE_RATE_HZ / 2, WINDOW // 2 + 1)
    edges_hz = _mel_to_hz(np.linspace(0, _hz_to_mel(SAMPLE_RATE_HZ / 2), NUM_MEL_BINS + 2))
    widths = np.diff(edges_hz)
    slopes = edges_hz[None, :] - bins_hz[:, None]
    triangles = np.minimum(-slopes[:, :-2] / widths[:-1], slopes[:, 2:] / widths[1:])
    return np.maximum(0.0, triangles) * (2.0 / (edges_hz[2:] - edges_hz[:-2]))


# Slaney's scale: linear to 1 kHz at 200/3 Hz a mel, above it 27 mels for a factor of 6.4.
_LINEAR_HZ, _KNEE_HZ, _LOG_STEP = 200.0 / 3, 1000.0, np.log(6.4) / 27.0


def _hz_to_mel(hz: float) -> float:
    knee = _KNEE_HZ / _LINEAR_HZ
    return float(knee + np.log(hz / _KNEE_HZ) / _LOG_STEP if hz >= _KNEE_HZ else hz / _LINEAR_HZ)


def _mel_to_hz(mel: np.ndarray) -> np.ndarray:
    knee = _KNEE_HZ / _LINEAR_HZ
    return np.where(mel < knee, mel * _LINEAR_HZ, _KNEE_HZ * np.exp(_LOG_STEP * (mel - knee)))
