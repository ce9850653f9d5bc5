"""An acoustic fingerprint: landmarks of a clip, hashed so that a copy of it gives the same hashes.

Spectral peaks of a mel spectrogram are paired with the peaks that follow soon after; a pair's two
bands and the time between them are one hash. Peaks survive re-encoding, resampling, another level,
mixing to mono and cutting; they do not survive a changed pitch or tempo, so a clip shifted in
pitch or stretched is *not* recognised.
Source: Wang 2003, "An Industrial-Strength Audio Search Algorithm", sections 2.1 and 2.2.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import scipy.fft
import scipy.ndimage
import scipy.sparse
from numpy.typing import NDArray

from keomni_rl.data.audio import SAMPLE_RATE_HZ
from keomni_rl.types import FloatArray

HOP = 256
"""Samples between two frames: 16 ms."""
WINDOW = 1024
NUM_BANDS = 96
BAND_HZ = (200.0, 4_000.0)
"""What even a telephone's or a low-rate MP3's copy still has."""
NEIGHBOURHOOD = (15, 9)
"""Frames and bands within which a peak is the highest point: 240 ms by about an eighth octave."""
RANGE_DB = 60.0
"""Peaks further below the clip's highest are noise."""
PEAKS_PER_S = 30
MAX_PARTNERS = 6
"""Later peaks that one peak is paired with."""
MAX_GAP = 64
"""Frames between the two peaks of a pair: one second."""
MAX_LEAP = 64
"""Bands between them."""
NUM_PHASES = 2
NUM_HASHES = NUM_BANDS * 2 * MAX_LEAP * MAX_GAP


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """The landmarks of one clip, in order of time."""

    hashes: NDArray[np.int32]
    """[N], each below `NUM_HASHES`."""
    frames: NDArray[np.int32]
    """When each one begins, in hops, [N]."""

    def __len__(self) -> int:
        """Landmarks."""
        return len(self.hashes)

    @property
    def num_different(self) -> int:
        """Different hashes: what a match is counted in, few in a steady tone."""
        return len(np.unique(self.hashes))


def fingerprint(samples: FloatArray) -> Fingerprint:
    """Landmarks of mono samples at 16 kHz; about 1,500 for ten seconds, none for silence."""
    frames, bands = _peaks(_mel(samples))
    begins, hashes = _pairs(frames, bands)
    order = np.lexsort((hashes, begins))
    return Fingerprint(hashes[order].astype(np.int32), begins[order].astype(np.int32))


def dense_fingerprint(samples: FloatArray) -> Fingerprint:
    """The landmarks of `NUM_PHASES` framings, for the side that copies are looked for in.

    A copy that was cut out begins anywhere within a hop; against one framing only, half a hop off,
    two thirds of its landmarks would be lost.
    """
    framings = [fingerprint(samples[n * HOP // NUM_PHASES :]) for n in range(NUM_PHASES)]
    frames = np.concatenate([framing.frames for framing in framings])
    order = np.argsort(frames, kind="stable")
    hashes = np.concatenate([framing.hashes for framing in framings])
    return Fingerprint(hashes[order], frames[order])


def _mel(samples: FloatArray) -> FloatArray:
    """Log power by band, in nepers, [frames, bands]."""
    padded = np.pad(samples, (0, max(0, WINDOW - len(samples))))
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]
    spectrum = scipy.fft.rfft(windows * _window(), axis=1)
    power = spectrum.real**2 + spectrum.imag**2
    bands: FloatArray = power @ _filters()
    return np.log(bands + 1e-12)


def _peaks(mel: FloatArray) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Frame and band of the strongest local maxima of every second, in order of time."""
    floor = max(float(mel.max()) - RANGE_DB * np.log(10) / 10, np.log(1e-11))
    highest = scipy.ndimage.maximum_filter(mel, NEIGHBOURHOOD, mode="constant", cval=-np.inf)
    frames, bands = np.nonzero((mel == highest) & (mel > floor))
    seconds = frames * HOP // SAMPLE_RATE_HZ
    order = np.lexsort((-mel[frames, bands], seconds))
    rank = np.arange(len(order)) - np.searchsorted(seconds, seconds)
    kept = np.sort(order[rank < PEAKS_PER_S])
    return frames[kept], bands[kept]


def _pairs(
    frames: NDArray[np.int64], bands: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Every peak with its next partners: when each pair begins, and its hash."""
    partners = np.zeros(len(frames), np.int64)
    begins, hashes = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for ahead in range(1, len(frames)):
        gap = frames[ahead:] - frames[:-ahead]
        if gap.min() >= MAX_GAP:
            break
        leap = bands[ahead:] - bands[:-ahead]
        is_pair = (gap > 0) & (gap < MAX_GAP) & (abs(leap) < MAX_LEAP)
        is_pair &= partners[:-ahead] < MAX_PARTNERS
        partners[:-ahead] += is_pair
        (first,) = np.nonzero(is_pair)
        begins.append(frames[first])
        hashes.append((bands[first] * 2 * MAX_LEAP + leap[first] + MAX_LEAP) * MAX_GAP + gap[first])
    return np.concatenate(begins), np.concatenate(hashes)


@cache
def _window() -> FloatArray:
    return np.hanning(WINDOW + 1)[:-1].astype(np.float32)


@cache
def _filters() -> "scipy.sparse.csr_array":
    """Triangles equally wide in mel between the ends of `BAND_HZ`, [bins, bands], mostly zeros."""
    low, high = np.log1p(np.array(BAND_HZ) / 700.0)
    edges = 700.0 * np.expm1(np.linspace(low, high, NUM_BANDS + 2))
    bins = np.linspace(0, SAMPLE_RATE_HZ / 2, WINDOW // 2 + 1)[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    return scipy.sparse.csr_array(triangles.astype(np.float32))
