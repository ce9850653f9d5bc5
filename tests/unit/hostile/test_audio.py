"""Sound files that lie, are damaged, or are made to fill memory."""

import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from keomni_rl.data.audio import LOUDEST, check_header, load_clip, read_samples
from keomni_rl.errors import DataError
from tests.odd_values import damaged, sparse, taken_or_refused

MIB = 2**20
RATE_HZ = 16_000
HEADER_BYTES = 44
FORMS = [
    ("WAV", "PCM_16"),
    ("WAV", "FLOAT"),
    ("WAV", "DOUBLE"),
    ("WAV", "IMA_ADPCM"),
    ("WAVEX", "PCM_24"),
    ("RF64", "PCM_16"),
    ("FLAC", "PCM_16"),
    ("OGG", "VORBIS"),
    ("OGG", "OPUS"),
    ("MP3", "MPEG_LAYER_III"),
    ("AIFF", "PCM_16"),
    ("CAF", "ALAC_16"),
    ("W64", "PCM_16"),
    ("AU", "PCM_16"),
]


def tone(seconds: float = 0.5, rate_hz: int = RATE_HZ) -> np.ndarray:
    return 0.3 * np.sin(2 * np.pi * 440 * np.arange(round(rate_hz * seconds)) / rate_hz)


def wav(path: Path, samples: np.ndarray | None = None, rate_hz: int = RATE_HZ, **more) -> Path:
    soundfile.write(path, tone() if samples is None else samples, rate_hz, format="WAV", **more)
    return path


def patched(path: Path, *changes: tuple[int, bytes]) -> Path:
    content = bytearray(path.read_bytes())
    for place, piece in changes:
        content[place : place + len(piece)] = piece
    path.write_bytes(content)
    return path


def sparse_wav(path: Path, seconds: float, *, rate_hz: int, channels: int) -> Path:
    """A wav of silence that takes no room on disk."""
    num_bytes = round(seconds * rate_hz) * channels * 2
    header = struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        *(b"RIFF", num_bytes + HEADER_BYTES - 8, b"WAVE", b"fmt ", 16, 1, channels, rate_hz),
        *(rate_hz * channels * 2, channels * 2, 16, b"data", num_bytes),
    )
    return sparse(path, start=header, num_bytes=HEADER_BYTES + num_bytes)


U32 = [(n).to_bytes(4, "little") for n in (0, 1, 2**31 - 1, 2**31, 2**32 - 2)]


@pytest.mark.parametrize("size", U32)
@pytest.mark.parametrize("place", [4, 16, 24, 28, 40], ids=["riff", "fmt", "rate", "byte", "data"])
def test_a_number_in_the_header_that_lies(inside, memory_below, place, size):
    """Either the samples that are there, or an error; never an allocation by what it says."""
    path = patched(wav(inside / "a.wav"), (place, size))
    with memory_below(16 * MIB):
        found = []
        if taken_or_refused(lambda: found.append(load_clip(str(path), max_audio_s=30)), str(path)):
            [clip] = found
            assert len(clip.samples) <= 30 * RATE_HZ


def test_more_channels_in_the_header_than_there_are(inside):
    path = patched(wav(inside / "a.wav"), (22, struct.pack("<H", 0)))
    with pytest.raises(DataError, match=r"a.wav: (not a sound file|0 channels)"):
        read_samples(str(path), max_audio_s=30)
    with pytest.raises(DataError, match=r"a.wav: (not a sound file|65535 channels)"):
        read_samples(str(patched(path, (22, b"\xff\xff"))), max_audio_s=30)


def test_a_flac_that_promises_for_ever_is_refused_by_its_header(inside, memory_below):
    path = inside / "a.flac"
    soundfile.write(path, tone(), RATE_HZ)
    patched(path, (21, bytes([path.read_bytes()[21] | 15])), (22, b"\xff" * 4))
    with memory_below(MIB), pytest.raises(DataError, match="a.flac: .* s long, the limit is 30 s"):
        read_samples(str(path), max_audio_s=30)


def test_a_header_without_a_sample(inside):
    path = wav(inside / "a.wav", np.zeros(0))
    assert path.stat().st_size == HEADER_BYTES
    with pytest.raises(DataError, match=r"a.wav: 0.000 s long, wanted at least 0.1 s"):
        read_samples(str(path), max_audio_s=30)


@pytest.mark.parametrize(
    ("seconds", "is_long_enough"), [(0.01, False), (0.0999, False), (0.1, True), (30, True)]
)
def test_the_shortest_and_the_longest_clip(inside, seconds, is_long_enough):
    path = wav(inside / "a.wav", tone(seconds))
    if is_long_enough:
        clip = load_clip(str(path), max_audio_s=30)
        assert len(clip.samples) == round(seconds * RATE_HZ)
        assert np.isfinite(clip.mel).all()
    else:
        with pytest.raises(DataError, match="a.wav: .* s long, wanted at least 0.1 s"):
            load_clip(str(path), max_audio_s=30)


@pytest.mark.parametrize("seconds", [30.1, 7_200])
def test_two_hours_are_refused_before_they_are_read(inside, memory_below, seconds):
    path = sparse_wav(inside / "a.wav", seconds, rate_hz=48_000, channels=2)
    with memory_below(MIB), pytest.raises(DataError, match="a.wav: .* s long, the limit is 30 s"):
        read_samples(str(path), max_audio_s=30)


def test_hours_of_silence_in_a_small_file_are_refused_before_they_are_decoded(inside, memory_below):
    path = inside / "a.flac"
    with soundfile.SoundFile(path, "w", RATE_HZ, 1, "PCM_16") as file:
        for _ in range(60):
            file.write(np.zeros(60 * RATE_HZ, np.int16))
    assert path.stat().st_size < MIB
    with memory_below(MIB), pytest.raises(DataError, match="a.flac: 3600.0 s long, the limit is"):
        read_samples(str(path), max_audio_s=30)


def test_eight_channels_at_192_khz_take_the_memory_of_one(inside, memory_below):
    """300 s of them, the most that may be allowed, are 1.8 GB as float32."""
    path = sparse_wav(inside / "a.wav", 40, rate_hz=192_000, channels=8)
    with memory_below(110 * MIB):
        samples = read_samples(str(path), max_audio_s=300)
    assert samples.shape == (40 * RATE_HZ,)


def test_eight_channels_are_heard_as_the_first_two(inside):
    channels = np.stack([tone(rate_hz=192_000) * (n + 1) / 8 for n in range(8)], axis=1)
    eight = wav(inside / "eight.wav", channels, 192_000, subtype="FLOAT")
    two = wav(inside / "two.wav", channels[:, :2], 192_000, subtype="FLOAT")
    heard = read_samples(str(eight), max_audio_s=30)
    assert len(heard) == 8_000
    np.testing.assert_array_equal(heard, read_samples(str(two), max_audio_s=30))


@pytest.mark.parametrize("rate_hz", [1, 3_999, 192_001, 2**31 - 1])
def test_a_rate_that_no_recorder_has(inside, rate_hz):
    path = patched(wav(inside / "a.wav"), (24, rate_hz.to_bytes(4, "little")))
    with pytest.raises(DataError, match=f"a.wav: sample rate {rate_hz} Hz, wanted 4000 to 192000"):
        check_header(str(path), max_audio_s=30)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3.4e38, -3.4e38, 2 * LOUDEST, 1e300])
@pytest.mark.parametrize("channel", [0, 1, 7])
def test_a_sample_that_is_no_sample(inside, value, channel):
    samples = np.zeros((8_000, 8))
    samples[-1, channel] = value
    path = wav(inside / "a.wav", samples, subtype="DOUBLE" if abs(value) == 1e300 else "FLOAT")
    with pytest.raises(DataError, match="a.wav: holds samples that are NaN, infinite or beyond"):
        read_samples(str(path), max_audio_s=30)


@pytest.mark.parametrize("rate_hz", [RATE_HZ, 44_100])
def test_samples_that_are_whole_numbers_are_only_loud(inside, rate_hz):
    path = wav(inside / "a.wav", np.sign(tone(rate_hz=rate_hz)) * LOUDEST, rate_hz, subtype="FLOAT")
    clip = load_clip(str(path), max_audio_s=30)
    assert np.isfinite(clip.samples).all()
    assert np.isfinite(clip.mel).all()


@pytest.mark.parametrize("name", ["a.raw", "a.RAW", "a.wav", "a.mp3", "a", "a.unknown", ".wav"])
@pytest.mark.parametrize("content", [b"hello " * 1_000, b"\0" * 5_000, b"ID3", b"RIFF", b"OggS"])
def test_what_is_no_sound_is_named_whatever_it_is_called(inside, name, content):
    (inside / name).write_bytes(content)
    with pytest.raises(DataError, match="not a sound file that can be read"):
        read_samples(str(inside / name), max_audio_s=30)


@pytest.mark.parametrize("form", [form for form, _ in FORMS])
def test_a_sound_is_known_by_its_content(inside, form):
    """An mp3 that is named .wav among them."""
    subtype = dict(FORMS)[form]
    rate_hz = 48_000 if subtype == "OPUS" else RATE_HZ
    path = inside / "a.wav"
    soundfile.write(path, tone(rate_hz=rate_hz), rate_hz, format=form, subtype=subtype)
    assert abs(len(read_samples(str(path), max_audio_s=30)) - 8_000) < 2_500


def test_paths_that_lead_nowhere(inside):
    (inside / "loop.wav").symlink_to("loop.wav")
    (inside / "gone.wav").symlink_to("gone")
    for path in ("loop.wav", "gone.wav", "loop.wav/a.wav", "a/" * 3_000, "x" * 300, "a\0.wav"):
        with pytest.raises(DataError, match="no such audio file"):
            read_samples(str(inside / path), max_audio_s=30)


def test_what_is_no_file_is_not_waited_for(inside):
    subprocess.run(["mkfifo", inside / "pipe.wav"], check=True)
    for path in (inside / "pipe.wav", Path("/dev/zero"), inside):
        with pytest.raises(DataError, match="not a regular file"):
            read_samples(str(path), max_audio_s=30)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> list[bytes]:
    path = tmp_path_factory.mktemp("whole") / "a"
    contents = []
    for form, subtype in FORMS:
        rate_hz = 48_000 if subtype == "OPUS" else RATE_HZ
        soundfile.write(path, tone(0.3, rate_hz), rate_hz, format=form, subtype=subtype)
        contents.append(path.read_bytes())
    return contents


@settings(max_examples=400)
@given(data=st.data())
def test_a_damaged_file_is_heard_or_refused(tmp_path_factory, whole, data):
    path = tmp_path_factory.getbasetemp() / "damaged.wav"
    path.write_bytes(data.draw(damaged(whole)))
    found = []
    if taken_or_refused(lambda: found.append(load_clip(str(path), max_audio_s=30)), str(path)):
        [clip] = found
        assert 1_600 <= len(clip.samples) <= 30 * RATE_HZ
        assert np.isfinite(clip.samples).all()
        assert np.isfinite(clip.mel).all()
