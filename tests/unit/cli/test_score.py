import json
import sys

import pytest
from typer.testing import CliRunner

from keomni_rl.cli.app import app, main
from keomni_rl.errors import ConfigError, DataError

SOUNDS = ("dog", "cat", "cow", "owl")


def row(n: int, **more) -> dict:
    return {
        "id": f"q{n}",
        "audio_id": f"./test-mini-audios/q{n}.wav",
        "question": "What is heard?",
        "choices": list(SOUNDS),
        "answer": SOUNDS[n % 4],
        "task": ("sound", "music", "speech")[n % 3],
        "difficulty": "easy",
        "category": "Reasoning",
        "sub-category": "Counting",
        **more,
    }


def said(text: str) -> dict:
    return {
        "model_output": text,
        "model_output_raw": f"<think>I hear it</think><answer>{text}</answer>",
        "finish_reason": "stop",
        "error": None,
    }


@pytest.fixture
def files(tmp_path, monkeypatch):
    """``good.json`` has 9 of 12 right and lacks one, ``bad.json`` has 3 right."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    rows = [row(n) for n in range(12)]
    good = [r | said(r["answer"] if n < 9 else "owl or cow") for n, r in enumerate(rows[:11])]
    bad = [r | said(r["answer"] if n < 3 else "nothing") for n, r in enumerate(rows)]
    for name, content in (
        ("questions", rows),
        ("good", [*good, rows[11]]),
        ("bad", bad),
        ("short", bad[:5]),
        ("foreign", [row(n, id=f"x{n}") | said("dog") for n in range(3)]),
        ("theirs", [r | {"model_prediction": r["answer"]} for r in rows]),
        ("unanswered", [{k: v for k, v in r.items() if k != "answer"} for r in bad]),
    ):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    lines = [{"id": r["id"], "policy_version": 40, **said(r["answer"])} for r in rows]
    (tmp_path / "lines.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return tmp_path


def score(*words: str):
    result = CliRunner().invoke(app, ["score", *words])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_the_tables_say_what_the_score_is_and_of_what(files):
    result = score("good.json")
    assert "MMAU custom, 12 questions: official verdict, percent" in result.stdout
    for cells in (
        ("sound", "4", "75.00", "[30.1, 95.4]"),
        ("all", "12", "75.00", "12.50", "[46.8, 91.1]"),
        ("strict: the choice, letter for letter", "75.00 [46.8, 91.1]"),
        ("alphanumeric, as NeMo-RL scores", "75.00 [46.8, 91.1]"),
        ("in the asked form, nothing around it", "91.67"),
        ("words in a think, mean", "3.0"),
        ("thinks of 50 words or more", "0.00"),
        ("questions without a prediction", "1"),
        ("none of them", "16.67"),
    ):
        assert any(all(cell in line for cell in cells) for line in result.stdout.splitlines())
    assert "always the first 25.00, chance 25.00" in result.stdout
    assert "1 of 12 questions have no 'model_output' and count as wrong: q11" in result.stderr


def test_the_official_report_leaves_out_what_is_missing(files):
    result = score("good.json", "--official")
    assert "Total Accuracy: 81.82% over 11 samples\n" in result.stdout
    assert "speech : 100.00% over 3 samples\n" in result.stdout
    assert result.stdout.startswith("*" * 30 + "\nTask-wise Accuracy:\nsound : ")
    assert result.stdout.endswith("*" * 30 + "\nNo prediction count: 0\n")
    assert "1 entries have no 'model_output'" in result.stderr


def test_another_key_and_lines_are_judged(files):
    with pytest.raises(DataError, match="12 have a 'model_prediction'; add --key"):
        score("theirs.json")
    assert "100.00" in score("theirs.json", "--key", "model_prediction").stdout
    with pytest.raises(DataError, match="add --questions"):
        score("lines.jsonl", "--official")
    result = score("lines.jsonl", "--questions", "questions.json", "--official")
    assert "Total Accuracy: 100.00% over 12 samples" in result.stdout


def test_json_and_the_file_are_the_same_summary(files):
    result = score("lines.jsonl", "--questions", "questions.json", "--json", "--out", "s.json")
    summary = json.loads(result.stdout)
    assert summary == json.loads((files / "s.json").read_text())
    assert (summary["accuracy"], summary["n"], summary["policy_version"]) == (1.0, 12, 40)
    assert summary["think"] == {"mean_words": 3.0, "max_words": 50, "over_limit": 0.0}
    flags = ["--no-think", "--think-max-words", "0"]
    without = json.loads(score("good.json", "--json", *flags).stdout)
    assert (without["think"], without["format"]) == (None, 0.0)


def test_completions_without_tags_are_no_answers_in_another_form(files):
    plain = [row(n) | {"model_output": "dog", "model_output_raw": "dog"} for n in range(4)]
    (files / "plain.json").write_text(json.dumps(plain))
    result = score("plain.json", "--json")
    summary = json.loads(result.stdout)
    assert (summary["format"], summary["no_answer"]) == (None, None)
    assert list(summary["other_scorers"]) == ["strict"]
    assert "note: plain.json: no completion has answer tags" in result.stderr
    result = score("plain.json", "--tags", "--json")
    summary = json.loads(result.stdout)
    assert (summary["format"], summary["no_answer"]) == (0.0, 1.0)
    assert summary["other_scorers"]["alphanumeric"]["accuracy"] == 0.0
    assert "tags" not in result.stderr
    assert json.loads(score("good.json", "--no-tags", "--json").stdout)["format"] is None


def test_the_official_report_counts_a_repeated_entry_and_says_so(files):
    rows = json.loads((files / "bad.json").read_text())
    (files / "twice.json").write_text(json.dumps([*rows, rows[0], rows[0]]))
    result = score("twice.json", "--official")
    assert "Total Accuracy: 35.71% over 14 samples" in result.stdout
    assert "2 entries repeat an id; counted, as the official script does" in result.stderr


def test_a_held_out_set_is_scored_and_compared_by_its_own_tasks(files):
    rows = [
        {"id": str(n), "choices": ["a", "b"], "answer": "a", "task": task, "difficulty": ""}
        for n, task in enumerate(("Come From", "Come From", "Where"))
    ]
    for name, texts in (("ours", "aab"), ("old", "bbb")):
        said = [r | {"model_output": text} for r, text in zip(rows, texts)]
        (files / f"{name}.json").write_text(json.dumps(said))
    compared = json.loads(score("ours.json", "--compare", "old.json", "--json").stdout)
    assert {task: d["difference"] for task, d in compared["by_task"].items()} == {
        "Come From": 1.0,
        "Where": 0.0,
    }
    summary = json.loads(score("ours.json", "--json").stdout)
    assert (list(summary["by_task"]), summary["by_difficulty"]) == (["Come From", "Where"], {})


def test_two_files_are_compared_in_words(files):
    result = score("good.json", "--compare", "bad.json")
    assert "good.json (ours) against bad.json (baseline)" in result.stdout
    assert "good.json scores 50.0 points above bad.json [" in result.stdout
    assert "p = 0.031: these 12 questions show a difference" in result.stdout
    compared = json.loads(score("bad.json", "--compare", "good.json", "--json").stdout)
    assert (compared["total"]["difference"], compared["total"]["only_baseline"]) == (-0.5, 6)
    assert list(compared["by_task"]) == ["sound", "music", "speech"]
    words = ["good.json", "--compare", "theirs.json", "--compare-key", "model_prediction"]
    assert "theirs.json scores 25.0 points above good.json" in score(*words).stdout


def test_files_of_one_name_are_told_apart_by_their_paths(files):
    (files / "old").mkdir()
    (files / "old" / "good.json").write_text((files / "bad.json").read_text())
    result = score("good.json", "--compare", "old/good.json")
    assert "good.json scores 50.0 points above old/good.json" in result.stdout


def test_other_questions_are_refused(files):
    with pytest.raises(DataError, match="5 in both, 7 only in bad.json, 0 only in short.json"):
        score("bad.json", "--compare", "short.json")
    with pytest.raises(DataError, match="3 of 3 predictions .* x0, x1, x2; give the questions"):
        score("foreign.json", "--questions", "questions.json")


def test_predictions_alone_are_counted(files):
    result = score("unanswered.json")
    assert "12 questions: no answers, predictions only" in result.stdout
    rows = [[cell.strip() for cell in line.split("│")] for line in result.stdout.splitlines()]
    assert ["", "all", "12", "-", "-", "-", ""] in rows
    assert "strict" not in result.stdout
    assert json.loads(score("unanswered.json", "--json").stdout)["accuracy"] is None
    judged = score("unanswered.json", "--questions", "questions.json", "--json")
    assert json.loads(judged.stdout)["accuracy"] == 0.25
    with pytest.raises(DataError, match="no answers"):
        score("unanswered.json", "--compare", "unanswered.json")
    with pytest.raises(DataError, match="'answer' is None"):
        score("unanswered.json", "--official")


def test_flags_that_do_not_go_together_are_refused(files):
    for flag in (
        ["--json"],
        ["--think"],
        ["--no-think"],
        ["--think-max-words", "0"],
        ["--tags"],
        ["--compare", "bad.json"],
        ["--compare-key", "model_output"],
        ["--out", "s.json"],
    ):
        with pytest.raises(ConfigError, match="--official only prints"):
            score("good.json", "--official", *flag)
    with pytest.raises(ConfigError, match="--compare-key is of another file"):
        score("good.json", "--compare-key", "model_output")
    with pytest.raises(ConfigError, match="there is no folder nowhere"):
        score("good.json", "--out", "nowhere/summary.json")
    with pytest.raises(ConfigError, match=r"--out \.: this is a folder; name a file"):
        score("good.json", "--out", ".")


def test_a_mistake_is_one_line_and_exit_code_2(files, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["keomni-rl", "score", "none.json"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert capsys.readouterr().err == (
        "error: none.json: no such file; wanted predictions or questions as JSON\n"
    )
