import base64
import io

import numpy as np
import soundfile

from keomni_rl.observe.report.sounds import embed_sounds


def write_tone(path, seconds: float, rate_hz: int = 44_100, pitch_hz: float = 440.0) -> str:
    time_s = np.arange(int(seconds * rate_hz)) / rate_hz
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * pitch_hz * time_s), rate_hz)
    return str(path)


def decoded(clip: str) -> tuple[np.ndarray, int]:
    return soundfile.read(io.BytesIO(base64.b64decode(clip)))


def test_a_clip_is_its_sound_as_16_khz_mp3(tmp_path):
    path = write_tone(tmp_path / "a.wav", 10)
    clip = embed_sounds([path], limit_mb=1).clips[path]
    samples, rate_hz = decoded(clip)
    spectrum = np.abs(np.fft.rfft(samples))
    assert rate_hz == 16_000
    assert samples.ndim == 1
    assert abs(len(samples) / rate_hz - 10) < 0.2
    assert abs(np.argmax(spectrum) * rate_hz / len(samples) - 440) < 1
    assert len(clip) < 60_000


def test_the_shortest_clip_that_can_be_heard(tmp_path):
    path = write_tone(tmp_path / "a.wav", 0.1, rate_hz=8_000)
    samples, _ = decoded(embed_sounds([path], limit_mb=1).clips[path])
    assert len(samples) >= 1_600


def test_a_clip_is_held_once_and_one_without_a_file_says_why(tmp_path):
    path = write_tone(tmp_path / "a.wav", 0.5)
    sounds = embed_sounds([path, str(tmp_path / "none.wav"), path], limit_mb=1)
    assert list(sounds.clips) == [path]
    assert list(sounds.problems) == [str(tmp_path / "none.wav")]
    assert "no such audio file" in sounds.problems[str(tmp_path / "none.wav")]
    assert sounds.left_out == 0


def test_the_first_clips_fill_the_page(tmp_path):
    paths = [write_tone(tmp_path / f"{n}.wav", 1, pitch_hz=300 + n) for n in range(6)]
    every = embed_sounds(paths, limit_mb=1)
    sizes = [len(every.clips[path]) for path in paths]
    sounds = embed_sounds(paths, limit_mb=sum(sizes[:3]) / 1_000_000)
    assert list(sounds.clips) == paths[:3]
    assert sounds.left_out == 3
    assert set(sounds.problems) == set(paths[3:])
    assert sounds.megabytes == sum(sizes[:3]) / 1_000_000


def test_no_room_holds_no_clip(tmp_path):
    path = write_tone(tmp_path / "a.wav", 0.5)
    assert embed_sounds([path], limit_mb=0).clips == {}
    assert embed_sounds([], limit_mb=1).problems == {}
