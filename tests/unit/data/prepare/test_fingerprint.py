import io

import numpy as np
import pytest
import soundfile
import soxr

from keomni_rl.data.prepare.fingerprint import (
    HOP,
    MAX_GAP,
    NUM_HASHES,
    PEAKS_PER_S,
    dense_fingerprint,
    fingerprint,
)
from keomni_rl.data.prepare.fingerprint_index import MIN_SHARE, MIN_VOTES, FingerprintIndex
from keomni_rl.data.sounds import SYNTHS, Draw

RATE_HZ = 16_000


def melody(seed: int, seconds: float = 6.0) -> np.ndarray:
    """Notes of random pitch and length over a quiet hiss."""
    rng = np.random.default_rng(seed)
    parts = []
    while sum(map(len, parts)) < seconds * RATE_HZ:
        t = np.arange(int(rng.uniform(0.1, 0.4) * RATE_HZ)) / RATE_HZ
        f0 = 220 * 2 ** (rng.integers(36) / 12)
        tone = sum(np.sin(2 * np.pi * f0 * k * t) / k for k in range(1, 5))
        parts.append(tone * np.exp(-4 * t))
    wave = np.concatenate(parts)[: int(seconds * RATE_HZ)]
    return (0.2 * wave + 0.002 * rng.standard_normal(len(wave))).astype(np.float32)


def noise(seed: int, seconds: float = 6.0) -> np.ndarray:
    rng = np.random.default_rng([seed, 1])
    return (0.1 * rng.standard_normal(int(seconds * RATE_HZ))).astype(np.float32)


def encoded(samples: np.ndarray, rate_hz: int, form: str, subtype: str, **how) -> np.ndarray:
    file = io.BytesIO()
    resampled = soxr.resample(samples, RATE_HZ, rate_hz)
    soundfile.write(file, resampled, rate_hz, format=form, subtype=subtype, **how)
    file.seek(0)
    decoded, _ = soundfile.read(file, dtype="float32")
    return soxr.resample(decoded, rate_hz, RATE_HZ)


COPIES = {
    "same": lambda x: x,
    "quieter": lambda x: x * np.float32(0.02),
    "louder": lambda x: x * np.float32(3.0),
    "telephone": lambda x: encoded(x, 8_000, "WAV", "ULAW"),
    "44.1 kHz": lambda x: encoded(x, 44_100, "WAV", "PCM_16"),
    "low mp3": lambda x: encoded(x, 22_050, "MP3", "MPEG_LAYER_III", compression_level=0.95),
    "low ogg": lambda x: encoded(x, 16_000, "OGG", "VORBIS", compression_level=1.0),
    "cut off the hops": lambda x: x[10 * HOP + HOP // 2 + 17 :][: 3 * RATE_HZ],
    "in a longer clip": lambda x: np.concatenate([melody(900, 3.3), x, melody(901, 5.0)]),
    "cut, quiet, mp3": lambda x: encoded(
        x[30_001:80_000] * 0.3, 24_000, "MP3", "MPEG_LAYER_III", compression_level=0.9
    ),
}


@pytest.fixture(scope="module")
def clips():
    return [melody(n) for n in range(12)] + [noise(n) for n in range(12)]


@pytest.fixture(scope="module")
def index(clips):
    return FingerprintIndex([dense_fingerprint(clip) for clip in clips])


@pytest.mark.parametrize("copy", COPIES)
def test_a_copy_is_found_and_nothing_else(clips, index, copy):
    for number, clip in enumerate(clips):
        found = index.find(fingerprint(np.ascontiguousarray(COPIES[copy](clip))))
        assert [match.clip for match in found] == [number]
        assert found[0].num_hashes >= MIN_VOTES
        assert MIN_SHARE <= found[0].share <= 1


def test_the_offset_is_where_the_copy_begins(clips, index):
    (cut,) = index.find(fingerprint(clips[3][2 * RATE_HZ :]))
    assert cut.offset_s == pytest.approx(2.0, abs=0.02)
    longer = np.concatenate([noise(77, 1.5), clips[3]])
    (inside,) = index.find(fingerprint(longer))
    assert inside.offset_s == pytest.approx(-1.5, abs=0.02)


def test_other_clips_of_the_same_kind_are_not_found(index):
    for number in range(100, 140):
        assert index.find(fingerprint(melody(number))) == []
        assert index.find(fingerprint(noise(number))) == []


def test_every_kind_of_generated_sound_is_told_from_its_like():
    def draw(synth, seed):
        d = Draw(t=np.arange(5 * RATE_HZ) / RATE_HZ, rng=np.random.default_rng(seed))
        wave = synth(d)
        return (wave / np.abs(wave).max() * 0.5 + 0.002 * d.noise()).astype(np.float32)

    synths = [synth for kind in SYNTHS.values() for synth in kind.values()]
    known = FingerprintIndex([dense_fingerprint(draw(synth, 0)) for synth in synths])
    for synth in synths:
        assert known.find(fingerprint(draw(synth, 1))) == []


def test_a_changed_pitch_or_tempo_is_not_found(clips, index):
    faster = soxr.resample(clips[0], RATE_HZ, RATE_HZ * 0.9).astype(np.float32)
    assert index.find(fingerprint(faster)) == []


def test_two_copies_in_one_clip_are_both_found(clips, index):
    both = np.concatenate([clips[2], clips[15]])
    assert {match.clip for match in index.find(fingerprint(both))} == {2, 15}


@pytest.mark.parametrize("samples", [np.zeros(50_000), np.zeros(10), np.full(20_000, 0.5)])
def test_silence_has_no_landmarks(samples, index):
    found = fingerprint(samples.astype(np.float32))
    assert len(found) == 0
    assert index.find(found) == []
    assert len(dense_fingerprint(samples.astype(np.float32))) == 0


def test_a_steady_tone_has_few_different_landmarks():
    t = np.arange(5 * RATE_HZ) / RATE_HZ
    tone = (0.3 * np.sin(2 * np.pi * 440 * t) * (1 + np.sin(8 * t))).astype(np.float32)
    assert fingerprint(tone).num_different < MIN_VOTES


def test_landmarks_are_in_order_and_bounded(clips):
    found = fingerprint(clips[0])
    assert (np.diff(found.frames) >= 0).all()
    assert ((found.hashes >= 0) & (found.hashes < NUM_HASHES)).all()
    gaps = found.hashes % MAX_GAP
    assert gaps.min() >= 1
    assert len(np.unique(found.frames)) <= PEAKS_PER_S * 6


def test_an_empty_index_finds_nothing(clips):
    assert FingerprintIndex([]).find(fingerprint(clips[0])) == []
