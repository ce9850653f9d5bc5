import json
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from keomni_rl.cli import main
from keomni_rl.data.audio import read_samples
from keomni_rl.data.questions import QuestionFile
from keomni_rl.observe import progress

AVQA = {
    "id": 1,
    "video_name": "-HG3Omg_89c_000030",
    "video_id": 2,
    "question_text": "What is heard in the video?",
    "multi_choice": ["Car", "motorcycle", "siren", "gun fire"],
    "answer": 0,
    "question_relation": "Both",
    "question_type": "Come From",
}
MUSIC = {
    "location": "data/abc.wav",
    "key": ["C", "major"],
    "keyprob": [0.7],
    "prompt_bpm": "Presto",
    "prompt_bt": "The time signature is 4/4.",
}


def clip(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.sin(np.arange(8_000) / 10) * 0.1, 16_000)


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


def write_lines(path: Path, rows: list) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_avqa(tmp_path, keomni):
    clip(tmp_path / "wavs" / "-HG3Omg_89c_30.wav")
    raw = tmp_path / "train_qa.json"
    raw.write_text(
        json.dumps(
            [AVQA, AVQA | {"id": 2, "question_relation": "View"}, AVQA | {"id": 3, "answer": 9}]
        )
    )
    out = tmp_path / "train.jsonl"
    code, said, _ = keomni("avqa", raw, "--audio", tmp_path / "wavs", "--out", out)
    assert code == 0
    assert "AVQA: 3 rows" in said
    assert "questions to train on │ 1" in said
    assert "skipped: view only │ 1" in said
    assert "skipped: malformed │ 1" in said
    assert f"wrote {out}" in said
    question = QuestionFile(out)[0]
    assert (question.question, question.answer) == ("What is heard in the audio?", "Car")
    assert len(read_samples(question.audio, max_audio_s=30)) >= 8_000
    listed = [
        json.loads(line) for line in (tmp_path / "train.skipped.jsonl").read_text().splitlines()
    ]
    assert [(row["row"], row["reason"]) for row in listed] == [(2, "view only"), (3, "malformed")]
    assert (
        keomni("avqa", raw, "--audio", tmp_path / "wavs", "--out", out, "--all-relations")[0] == 0
    )
    assert json.loads(out.read_text().splitlines()[0])["id"] == "avqa_1"


def test_a_log_hears_how_far_long_work_is(tmp_path, keomni, monkeypatch):
    clip(tmp_path / "mb" / "data" / "abc.wav")
    noise = np.random.default_rng(0).standard_normal(32_000) * 0.1
    soundfile.write(tmp_path / "mb" / "data" / "noise.wav", noise, 16_000)
    raw = write_lines(tmp_path / "MusicBench_train.json", [MUSIC] * 4)
    words = ("musicbench", raw, "--audio", tmp_path / "mb", "--out", tmp_path / "mb" / "q.jsonl")
    words += ("--overlap", tmp_path / "mb" / "data")
    code, said, _ = keomni(*words)
    assert code == 0
    assert "reading" not in said
    monkeypatch.setattr(progress, "PLAIN_EVERY_S", 0)
    _, said, _ = keomni(*words)
    assert said.startswith("reading 25% ")
    assert "reading 75% " in said
    assert "comparing clips 1/3 " in said


def test_musicbench(tmp_path, keomni):
    clip(tmp_path / "mb" / "data" / "abc.wav")
    raw = write_lines(
        tmp_path / "MusicBench_train.json", [MUSIC, MUSIC, MUSIC | {"location": "data/none.wav"}]
    )
    out = tmp_path / "mb" / "q.jsonl"
    words = ("musicbench", raw, "--audio", tmp_path / "mb", "--out", out)
    code, said, _ = keomni(*words)
    assert code == 0
    assert "questions to train on │ 3" in said
    assert "key │ 1" in said
    assert "skipped: duplicate │ 3" in said
    assert "skipped: audio missing │ 3" in said
    assert keomni(*words, "--kinds", "tempo, key", "--min-keyprob", "0.8")[0] == 0
    assert [q["kind"] for q in map(json.loads, out.read_text().splitlines())] == ["tempo"]
    assert keomni(*words, "--compat", "--sample", "4", "--seed", "3")[0] == 0
    assert len(QuestionFile(out)) == 4


def test_audiomcq(tmp_path, keomni):
    rows = []
    for n in range(4):
        clip(tmp_path / "Clotho" / f"{n}.wav")
        rows.append(
            {
                "id": n,
                "audio_path": f"Clotho/{n}.wav",
                "question": "What?",
                "choices": ["a", "b"],
                "answer": "a",
            }
        )
    write_lines(tmp_path / "data.jsonl", rows)
    out = tmp_path / "train.jsonl"
    code, said, _ = keomni("audiomcq", tmp_path, "--out", out, "--heldout", "1")
    assert code == 0
    assert "questions to train on │ 3" in said
    assert "questions held out │ 1" in said
    assert (len(QuestionFile(out)), len(QuestionFile(tmp_path / "train.heldout.jsonl"))) == (3, 1)
    code, _, error = keomni("audiomcq", tmp_path, "--out", out)
    assert code == 2
    assert "train.heldout.jsonl: was held out by an earlier call" in error


@pytest.mark.parametrize(
    ("content", "words", "message"),
    [
        ("{oops", (), "line 1: not JSON"),
        ('{"a": 1}', (), "line 1: no 'location'; MusicBench's rows have location, key"),
        (
            json.dumps(MUSIC),
            ("--kinds", "key,chords"),
            "--kinds: 'chords' is none of key, tempo, time",
        ),
        (json.dumps(MUSIC), ("--compat", "--min-keyprob", "0.5"), "leave --min-keyprob out"),
        (json.dumps(MUSIC), ("--sample", "4"), "--sample 4: only 3 questions are there"),
        (json.dumps(MUSIC), ("--out", "{}/q.json"), "wanted a name that ends in .jsonl"),
        (json.dumps(MUSIC), ("--audio", "{}/mbb"), "mbb: no such folder"),
        (
            json.dumps(MUSIC | {"location": "data/x.wav"}),
            (),
            "no audio found in {}/mb; for example looked for data/x.wav, data/x.flac",
        ),
    ],
)
def test_bad_input_is_one_clear_line_and_writes_nothing(tmp_path, keomni, content, words, message):
    clip(tmp_path / "mb" / "data" / "abc.wav")
    raw = tmp_path / "raw.json"
    raw.write_text(content)
    words = [word.replace("{}", str(tmp_path)) for word in words]
    code, _, error = keomni(
        "musicbench", raw, "--audio", tmp_path / "mb", "--out", tmp_path / "q.jsonl", *words
    )
    assert code == 2
    assert error.startswith("error: ")
    assert message.replace("{}", str(tmp_path)) in error
    assert "Traceback" not in error
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mb", "raw.json"]


def test_an_output_from_which_audio_cannot_be_reached_is_refused_with_the_place(tmp_path, keomni):
    clip(tmp_path / "mb" / "data" / "abc.wav")
    raw = write_lines(tmp_path / "raw.json", [MUSIC])
    code, _, error = keomni(
        "musicbench", raw, "--audio", tmp_path / "mb", "--out", tmp_path / "else" / "q.jsonl"
    )
    assert code == 2
    assert f"use --out {tmp_path / 'q.jsonl'}" in error
