import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from keomni_rl.data.audio import (
    TAIL_FRAMES,
    check_header,
    load_clip,
    log_mel,
    num_audio_tokens,
    read_samples,
)
from keomni_rl.errors import DataError


def tone(rate_hz: int, seconds: float = 0.5, hz: float = 440.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hz * np.arange(int(rate_hz * seconds)) / rate_hz)


def engine_mel(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """What the engine's extractor makes of a clip in a window of 30 s.

    By its own double-precision path, by its default one in float32, and the clip's own frames.
    """
    from transformers import WhisperFeatureExtractor

    extractor = WhisperFeatureExtractor(feature_size=128, chunk_length=30)
    padded = extractor(
        samples,
        sampling_rate=16_000,
        padding="max_length",
        return_attention_mask=True,
        return_tensors="np",
    )
    silence = np.zeros(extractor.n_samples - len(samples), np.float32)
    exact = extractor._np_extract_fbank_features(np.concatenate([samples, silence])[None], "cpu")
    return exact[0], padded["input_features"][0], int(padded["attention_mask"].sum())


def test_the_extractors_two_paths_compute_the_same():
    """Which lets the exact one stand for it below; float32 strays where a bin is nearly empty."""
    exact, default, _ = engine_mel(0.1 * tone(16_000).astype(np.float32))
    np.testing.assert_allclose(exact, default, atol=1e-4)


@settings(max_examples=20, deadline=None)
@given(st.integers(1_600, 64_000), st.integers(0, 2**31))
def test_mel_is_what_the_engines_extractor_computes(num_samples, seed):
    samples = (np.random.default_rng(seed).standard_normal(num_samples) * 0.1).astype(np.float32)
    exact, _, num_frames = engine_mel(samples)
    mel = log_mel(samples)
    assert mel.shape == (128, num_frames + TAIL_FRAMES)
    np.testing.assert_allclose(mel, exact[:, : num_frames + TAIL_FRAMES], atol=1e-5)
    beyond = exact[:, num_frames + TAIL_FRAMES :]
    assert (beyond == beyond[0, 0]).all()  # only silence is left out


def test_a_click_at_the_very_end_is_loudest_in_the_tail():
    samples = np.zeros(16_000, np.float32)
    samples[-10] = 1.0
    exact, *_ = engine_mel(samples)
    mel = log_mel(samples)
    assert mel[:, 100].max() == mel.max() > mel[:, :100].max()
    np.testing.assert_allclose(mel, exact[:, :102], atol=1e-5)


@pytest.mark.parametrize("num_samples", [479_640, 479_900, 480_000])
def test_a_clip_that_fills_the_window_is_reflected_at_its_end(num_samples):
    samples = (np.random.default_rng(1).standard_normal(num_samples) * 0.1).astype(np.float32)
    exact, _, num_frames = engine_mel(samples)
    mel = log_mel(samples, window_s=30)
    assert mel.shape == (128, num_frames + TAIL_FRAMES)
    np.testing.assert_allclose(mel[:, :3_000], exact, atol=1e-5)


def test_num_audio_tokens_is_25_a_second():
    assert num_audio_tokens(100) == 25
    assert num_audio_tokens(3_000) == 750


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
def test_any_rate_and_format_becomes_16_khz_mono(tmp_path, rate_hz, suffix):
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, np.stack([tone(rate_hz), tone(rate_hz)], axis=1), rate_hz)
    samples = read_samples(str(path), max_audio_s=30)
    assert samples.dtype == np.float32
    assert abs(len(samples) - 8_000) < 1_500  # mp3 frames pad
    spectrum = np.abs(np.fft.rfft(samples[2_000:6_000]))
    assert abs(np.argmax(spectrum) * 4 - 440) <= 4


def test_stereo_is_the_mean_of_its_channels(tmp_path):
    path = tmp_path / "a.wav"
    left = tone(16_000).astype(np.float32)
    soundfile.write(path, np.stack([left, np.zeros_like(left)], axis=1), 16_000, subtype="FLOAT")
    np.testing.assert_allclose(read_samples(str(path), max_audio_s=30), left / 2, atol=1e-6)


def test_an_mp3_named_wav_is_decoded(tmp_path):
    soundfile.write(tmp_path / "a.mp3", tone(16_000), 16_000)
    (tmp_path / "a.mp3").rename(tmp_path / "a.wav")
    assert load_clip(str(tmp_path / "a.wav"), max_audio_s=30).mel.shape[0] == 128


def refused(path, match):
    with pytest.raises(DataError, match=match):
        read_samples(str(path), max_audio_s=2)


def test_bad_audio_is_refused_by_name(tmp_path):
    refused(tmp_path / "none.wav", "no such audio file")
    refused(tmp_path, "not a regular file")
    (tmp_path / "empty.wav").touch()
    refused(tmp_path / "empty.wav", "empty audio file")
    (tmp_path / "text.wav").write_text("not a sound " * 20)
    refused(tmp_path / "text.wav", "not a sound file")
    soundfile.write(tmp_path / "long.wav", tone(16_000, 3), 16_000)
    refused(tmp_path / "long.wav", r"3\.0 s long, the limit is 2 s")
    soundfile.write(tmp_path / "short.wav", tone(16_000, 0.01), 16_000)
    refused(tmp_path / "short.wav", "at least 0.1 s")
    soundfile.write(tmp_path / "wide.wav", np.zeros((4_000, 9)), 16_000)
    refused(tmp_path / "wide.wav", "9 channels")
    broken = tone(16_000)
    broken[7] = np.nan
    soundfile.write(tmp_path / "nan.wav", broken, 16_000, subtype="FLOAT")
    refused(tmp_path / "nan.wav", "NaN")


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_truncated_audio_is_refused(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, tone(16_000), 16_000)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    refused(path, "truncated|cannot be decoded|not a sound file")


def test_a_header_that_lies_is_found_without_decoding(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(16_000), 16_000)
    data = bytearray(path.read_bytes())
    data[4:8] = (2**31).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(DataError, match="fewer than its header promises"):
        check_header(str(path), max_audio_s=30)
