import json

import numpy as np
import pytest
import soundfile

from keomni_rl.data.prepare.overlap import (
    ALONE,
    Overlap,
    OverlapReport,
    evaluation_clips,
    find_overlap,
    write_overlap,
)
from keomni_rl.errors import DataError

RATE_HZ = 16_000


def noise(seed: int, seconds: float = 4.0) -> np.ndarray:
    return 0.1 * np.random.default_rng(seed).standard_normal(int(seconds * RATE_HZ))


@pytest.fixture
def write(tmp_path):
    def write_(name: str, samples: np.ndarray, rate_hz: int = RATE_HZ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, samples, rate_hz)
        return path

    return write_


def test_a_cut_and_re_encoded_clip_is_found_with_its_offset(write):
    evaluation = [write(f"eval/{n}.wav", noise(n)) for n in range(4)]
    copy = write("train/copy.mp3", 0.3 * noise(2)[RATE_HZ:])
    other = write("train/other.wav", noise(50))
    report = find_overlap([other, copy, copy], evaluation)
    assert (report.num_training, report.num_evaluation) == (2, 4)
    (pair,) = report.pairs
    assert (pair.training, pair.evaluation) == (copy, evaluation[2])
    assert pair.offset_s == pytest.approx(1.0, abs=0.1)
    assert report.training_clips == {copy}
    assert report.not_compared == {}


def test_a_clip_in_two_evaluation_clips_gives_two_pairs_and_is_one_clip(write):
    evaluation = [write("eval/0.wav", noise(0)), write("eval/1.flac", noise(0)[:40_000])]
    report = find_overlap([write("train/0.wav", noise(0))], evaluation)
    assert [pair.evaluation for pair in report.pairs] == evaluation
    assert len(report.training_clips) == 1


def test_stereo_is_compared_as_its_mix(write):
    left, right = noise(1), noise(2)
    evaluation = [write("eval/0.wav", np.stack([left, right], axis=1), RATE_HZ)]
    report = find_overlap([write("train/mono.wav", (left + right) / 2)], evaluation)
    assert len(report.pairs) == 1


def test_clips_that_cannot_be_compared_are_named_and_stop_nothing(write, tmp_path):
    evaluation = [write("eval/0.wav", noise(0)), write("eval/silent.wav", np.zeros(RATE_HZ))]
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"not audio")
    missing = tmp_path / "missing.wav"
    report = find_overlap([broken, missing, write("train/0.wav", noise(0))], evaluation)
    assert len(report.pairs) == 1
    assert list(report.not_compared) == [evaluation[1], broken, missing]
    assert "silent, steady or too short" in report.not_compared[evaluation[1]]
    assert "no such audio file" in report.not_compared[missing]


def test_an_evaluation_set_of_which_nothing_can_be_heard_is_an_error(write, tmp_path):
    train = write("train/0.wav", noise(0))
    with pytest.raises(DataError, match=r"not one of 1 evaluation clips .* no such audio file"):
        find_overlap([train], [tmp_path / "none.wav"])
    with pytest.raises(DataError, match="not one of 0 evaluation clips"):
        find_overlap([train], [])


def test_processes_find_what_one_finds(write):
    evaluation = [write(f"eval/{n}.wav", noise(n, 1.0)) for n in range(8)]
    training = [write(f"train/{n}.wav", noise(n // 2, 1.0)) for n in range(ALONE)]
    steps = []
    report = find_overlap(training, evaluation, num_workers=2, advance=steps.append)
    assert [(p.training, p.evaluation) for p in report.pairs] == [
        (training[n], evaluation[n // 2]) for n in range(16)
    ]
    assert report.pairs == find_overlap(training, evaluation, num_workers=1).pairs
    assert sum(steps) == ALONE + 8


def test_the_evaluation_set_is_a_folder_or_mmaus_json(write, tmp_path):
    clips = [write("eval/b/1.WAV", noise(1)), write("eval/a.flac", noise(2))]
    (tmp_path / "eval" / "notes.txt").touch()
    assert evaluation_clips(tmp_path / "eval") == sorted(clips)
    record = {
        "id": "x",
        "audio_id": "./a.flac",
        "question": "What?",
        "choices": ["a", "b"],
        "task": "sound",
        "difficulty": "easy",
    }
    array = tmp_path / "eval" / "mmau.json"
    array.write_text(json.dumps([record]))
    assert evaluation_clips(array) == [clips[1]]


def test_what_is_no_evaluation_set_is_named(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty: holds no audio"):
        evaluation_clips(tmp_path / "empty")
    with pytest.raises(DataError, match="wanted a folder of audio or MMAU's JSON"):
        evaluation_clips(tmp_path / "none")
    with pytest.raises(DataError, match="no such file"):
        evaluation_clips(tmp_path / "none.json")


def test_the_list_has_every_pair_and_every_clip_that_was_not_compared(tmp_path):
    pair = Overlap(tmp_path / "t.wav", tmp_path / "e.wav", 321, 0.41239, -1.5049)
    path = tmp_path / "train.overlap.jsonl"
    write_overlap(
        path,
        OverlapReport(
            pairs=[pair],
            num_training=2,
            num_evaluation=1,
            not_compared={tmp_path / "x.wav": "x.wav: empty"},
        ),
    )
    first, second = map(json.loads, path.read_text().splitlines())
    assert first == {
        "training": str(pair.training),
        "evaluation": str(pair.evaluation),
        "num_hashes": 321,
        "share": 0.412,
        "offset_s": -1.5,
    }
    assert second == {"not_compared": str(tmp_path / "x.wav"), "reason": "x.wav: empty"}
    assert list(tmp_path.iterdir()) == [path]


def test_a_list_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "q.overlap.jsonl").mkdir()
    report = OverlapReport(pairs=[], num_training=0, num_evaluation=0)
    with pytest.raises(DataError, match="q.overlap.jsonl: cannot be written"):
        write_overlap(tmp_path / "q.overlap.jsonl", report)
