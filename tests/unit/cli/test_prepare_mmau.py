import json
import sys

import numpy as np
import pytest
import soundfile

from keomni_rl.cli import main
from keomni_rl.data.mmau import read_mmau
from keomni_rl.data.questions import QuestionFile

RATE_HZ = 16_000


def write_clip(path, seed: int, begin_s: float = 0.0):
    path.parent.mkdir(parents=True, exist_ok=True)
    wave = 0.1 * np.random.default_rng(seed).standard_normal(4 * RATE_HZ)
    soundfile.write(path, wave[int(begin_s * RATE_HZ) :], RATE_HZ)


def mmau_record(name: str) -> dict:
    return {
        "id": name,
        "audio_id": f"./test-mini-audios/{name}.wav",
        "question": "What is heard?",
        "choices": ["dog", "cat", "dog"],
        "answer": "dog",
        "task": "sound",
        "category": ["Reasoning"],
        "sub-category": "Counting",
        "difficulty": "hard",
    }


def write_mmau(folder, num: int = 3):
    for n in range(num):
        write_clip(folder / "test-mini-audios" / f"e{n}.wav", n)
    path = folder / "mmau-test-mini.json"
    path.write_text(json.dumps([mmau_record(f"e{n}") for n in range(num)]))
    return path


def write_avqa(folder):
    """Three clips, the second one a piece of MMAU's e1 as an MP3."""
    write_clip(folder / "wavs" / "t0.wav", 100)
    write_clip(folder / "wavs" / "t1.mp3", 1, begin_s=1.0)
    write_clip(folder / "wavs" / "t2.wav", 102)
    rows = [
        {
            "id": n,
            "video_name": f"t{n}",
            "video_id": n,
            "question_text": "What is heard?",
            "multi_choice": ["dog", "cat", "cow", "owl"],
            "answer": n,
            "question_relation": "Both",
            "question_type": "Which",
        }
        for n in range(3)
    ]
    path = folder / "train_qa.json"
    path.write_text(json.dumps(rows))
    return path


@pytest.fixture
def keomni(monkeypatch, capsys):
    """Runs a command line and returns its exit code, output and error with spaces made one."""

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setenv("COLUMNS", "200")
        monkeypatch.setattr(sys, "argv", ["keomni-rl", "prepare", *map(str, words)])
        with pytest.raises(SystemExit) as exit_:
            main()
        captured = capsys.readouterr()
        return exit_.value.code or 0, " ".join(captured.out.split()), " ".join(captured.err.split())

    return run


def test_mmau(tmp_path, keomni):
    out = tmp_path / "out"
    code, said, _ = keomni("mmau", write_mmau(tmp_path / "raw"), "--out", out)
    assert code == 0
    assert "MMAU: custom" in said
    assert "custom: these are not the ids of a published test-mini; do not compare" in said
    assert "questions │ 3" in said
    assert "sound │ 3" in said
    assert "category was a list │ 3" in said
    assert "an option occurs twice │ 3" in said
    assert f"wrote {out / 'mmau-test-mini.json'}" in said
    assert f"ids of all these: {out / 'mmau-test-mini.notes.json'}" in said
    assert len(read_mmau(out / "mmau-test-mini.json")) == 3


def test_mmau_with_bad_input_is_one_line(tmp_path, keomni):
    raw = tmp_path / "mmau-test-mini.json"
    raw.write_text("[{")
    code, _, error = keomni("mmau", raw, "--out", tmp_path / "out")
    assert code == 2
    assert error.startswith(f"error: {raw}: not JSON")
    assert not (tmp_path / "out").exists()
    (tmp_path / "clips.tar.gz").write_text("<html>")
    raw = write_mmau(tmp_path / "raw")
    audio, out = tmp_path / "clips.tar.gz", tmp_path / "out"
    code, _, error = keomni("mmau", raw, "--audio", audio, "--out", out)
    assert code == 2
    assert f"error: {tmp_path / 'clips.tar.gz'}: no tar archive, plain or compressed" in error


def test_overlap_is_reported_and_by_default_kept(tmp_path, keomni):
    mmau, raw, out = write_mmau(tmp_path), write_avqa(tmp_path), tmp_path / "train.jsonl"
    words = ("avqa", raw, "--audio", tmp_path / "wavs", "--out", out, "--overlap", mmau)
    code, said, _ = keomni(*words)
    assert code == 0
    assert f"1 of 3 training clips occur in {mmau} (3 clips)" in said
    assert "t1.mp3 │ e1.wav │ 1.0 s" in said
    assert f"wrote {tmp_path / 'train.overlap.jsonl'}" in said
    assert len(QuestionFile(out)) == 3
    (row,) = map(json.loads, (tmp_path / "train.overlap.jsonl").read_text().splitlines())
    assert row["training"].endswith("wavs/t1.mp3")
    assert row["evaluation"].endswith("test-mini-audios/e1.wav")


def test_overlap_is_dropped_if_asked(tmp_path, keomni):
    write_mmau(tmp_path / "mmau")
    raw, out = write_avqa(tmp_path), tmp_path / "train.jsonl"
    words = ("avqa", raw, "--audio", tmp_path / "wavs", "--out", out)
    code, said, _ = keomni(*words, "--overlap", tmp_path / "mmau", "--drop-overlap")
    assert code == 0
    assert "skipped: clip is in the evaluation set │ 1" in said
    assert [question.id for question in QuestionFile(out)] == ["avqa_0", "avqa_2"]
    skipped = (tmp_path / "train.skipped.jsonl").read_text()
    assert "clip is in the evaluation set" in skipped


def test_overlap_options_are_checked_before_anything_is_read(tmp_path, keomni):
    raw, out = write_avqa(tmp_path), tmp_path / "train.jsonl"
    words = ("avqa", raw, "--audio", tmp_path / "wavs", "--out", out)
    code, _, error = keomni(*words, "--drop-overlap")
    assert (code, error.count("--drop-overlap needs --overlap")) == (2, 1)
    code, _, error = keomni(*words, "--overlap", tmp_path / "none")
    assert code == 2
    assert "none: no such folder or file; wanted a folder of audio or MMAU's JSON" in error
    assert not out.exists()


def test_a_sample_is_told_from_the_candidates_that_were_compared(tmp_path, keomni):
    mmau, raw, out = write_mmau(tmp_path), write_avqa(tmp_path), tmp_path / "train.jsonl"
    words = ("avqa", raw, "--audio", tmp_path / "wavs", "--out", out, "--overlap", mmau)
    code, said, _ = keomni(*words, "--sample", "1")
    assert code == 0
    assert f"1 of 3 candidate clips occur in {mmau} (3 clips)" in said
    assert "on clips │ 1" in said


def test_brackets_in_names_are_printed_as_they_are(tmp_path, keomni):
    folder = tmp_path / "data[old]"
    out = folder / "out[bold]"
    code, said, _ = keomni("mmau", write_mmau(folder), "--out", out)
    assert code == 0
    assert f"wrote {out / 'mmau-test-mini.json'}" in said
    assert f"ids of all these: {out / 'mmau-test-mini.notes.json'}" in said
    raw = write_avqa(folder)
    rows = json.loads(raw.read_text())
    rows[0]["question_relation"] = "[red]Both"
    raw.write_text(json.dumps(rows))
    train = folder / "train[b].jsonl"
    words = ("avqa", raw, "--audio", folder / "wavs", "--out", train, "--all-relations")
    code, said, _ = keomni(*words)
    assert code == 0
    assert f"wrote {train}" in said
    assert f"wrote {folder / 'train[b].skipped.jsonl'}" in said
    assert "[red]Both" in said
