"""The command line's answers: the seeds' quick start, on real files, in the real engine."""

import json
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from keomni_rl.data.questions import QuestionFile
from keomni_rl.driver.export import export_model
from keomni_rl.models.tiny import build_tiny


def infer(*words: object, cwd=None) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "keomni_rl.cli", "infer", *map(str, words)],
        capture_output=True,
        text=True,
        cwd=cwd,
        check=False,
    )


def test_a_file_of_questions_is_answered_in_order_by_a_thinker(inputs):
    """Open ones and multiple choice, with one engine, straight from the thinker-only folder."""
    questions = QuestionFile(inputs.train)
    folder = inputs.train.parent
    rows = [
        {"id": f"ask {i}", "question": questions[i].question, "audio": questions[i].audio}
        | ({"choices": list(questions[i].choices)} if i % 4 else {})
        for i in range(16)
    ]
    file = folder / "asked.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = infer("--model", inputs.model, "--questions", file, "--max-new-tokens", 40, "--json")
    assert done.returncode == 0, done.stderr[-3000:]
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [a["id"] for a in answers] == [row["id"] for row in rows]
    choice = [a for a in answers if a["choices"]]
    assert len(choice) == 12
    assert sum(a["answer"] in a["choices"] and a["think"] != "" for a in choice) >= 11
    for answer in choice:
        if not answer["is_cut_off"]:
            assert answer["text"].count("<think>") == answer["text"].count("<answer>") == 1
            assert f"<answer>{answer['answer']}</answer>" in answer["text"]


def test_one_question_shows_think_and_answer_apart(inputs, tmp_path):
    full = export_model(inputs.model, tmp_path / "full", layout="full").folder
    question = QuestionFile(inputs.train)[0]
    choices = [word for choice in question.choices for word in ("--choice", choice)]
    asked = ("--model", full, "--audio", question.audio, question.question)
    done = infer(*asked, *choices)
    assert done.returncode == 0, done.stderr[-3000:]
    lines = [line for line in done.stdout.splitlines() if line]
    starts = ["starting vLLM", question.question, "audio:  /", "think:  ", "answer: "]
    assert all(line.startswith(start) for line, start in zip(lines, starts, strict=True)), lines
    assert lines[-1].removeprefix("answer: ") in question.choices
    assert "<" not in lines[-1] + lines[-2]


def test_qwen2_audio_answers_an_open_question_without_a_think(tmp_path):
    model = build_tiny(tmp_path / "model", ["a b c"] * 9, seed=0, family="qwen2_audio")
    noise = np.random.default_rng(0).standard_normal(44_100 * 2) * 0.1
    soundfile.write(tmp_path / "a.flac", noise, 44_100)
    asked = ("--model", model, "--audio", "a.flac", "Please describe this audio.")
    done = infer(*asked, "--no-think", "--max-new-tokens", 5, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    (answer,) = map(json.loads, done.stdout.splitlines())
    assert answer["audio"] == str(tmp_path / "a.flac")
    assert answer["is_cut_off"]
    assert answer["answer"] == answer["text"].strip() != ""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--model", "{model}", "--audio", "none.wav", "What?"), "none.wav: no such audio file"),
        (("--model", "nowhere", "--audio", "a.wav", "What?"), "nowhere: no such model folder"),
        (("--model", ".", "--audio", "a.wav", "What?"), "no config.json"),
        (("--model", "llama", "--audio", "a.wav", "What?"), "'llama' is of no known family"),
        (("--model", "{model}", "--audio", "a.wav", "What?"), "301.0 s long, the limit is 300 s"),
        (("--model", "{model}", "--audio", "a.wav", "<|AUDIO|>"), "holds '<|'"),
    ],
)
def test_what_cannot_be_asked_is_one_line(inputs, tmp_path, words, message):
    soundfile.write(tmp_path / "a.wav", np.zeros(301 * 4_000), 4_000)
    (tmp_path / "llama").mkdir()
    (tmp_path / "llama" / "config.json").write_text('{"model_type": "llama"}')
    done = infer(*(word.format(model=inputs.model) for word in words), cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
