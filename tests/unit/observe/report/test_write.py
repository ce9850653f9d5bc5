import json
import re

import pytest
from report_folders import right_every, write_evaluation, write_questions, write_run
from typer.testing import CliRunner

from keomni_rl.cli.app import app
from keomni_rl.cli.training import _show_results
from keomni_rl.errors import ConfigError, DataError
from keomni_rl.observe.report import write_report
from keomni_rl.observe.report.page import as_json
from keomni_rl.observe.report.sounds import Embedding


@pytest.fixture
def file(tmp_path):
    return write_questions(tmp_path / "questions", 6)


def data_of(page, name="questions") -> dict:
    pattern = rf'<script type="application/json" id="{name}-data">(.*?)</script>'
    return json.loads(re.search(pattern, page.read_text(), re.DOTALL)[1])


def test_json_cannot_end_its_element():
    nasty = {"a": "</script><!--", "b": "\u2028\ud800"}
    text = as_json(nasty)
    assert "<" not in text
    assert json.loads(text) == nasty


def test_a_text_that_is_no_unicode_does_not_stop_the_page(tmp_path, file):
    run = write_run(tmp_path / "run", file, 1, [])
    path = run / "rollouts" / "step_000001.jsonl"
    group = json.loads(path.read_text())
    group["question"] = group["completions"][0]["text"] = "\ud800"
    path.write_text(json.dumps(group) + "\n")
    assert data_of(write_report(run), "rollouts")["groups"][0]["question"] == "\ud800"


def test_a_page_of_rollouts_holds_the_asked_clips(tmp_path, file):
    run = write_run(tmp_path / "run", file, 3, [])
    every = data_of(write_report(run), "rollouts")["groups"]
    assert all(group["clip"] for group in every)
    only_wrong = data_of(write_report(run, embedding=Embedding("wrong")), "rollouts")["groups"]
    assert [bool(group["clip"]) for group in only_wrong] == [True, True, False]
    assert only_wrong[2]["silent"] == "left out by --audio wrong"


def test_only_policy_0_is_before_training(tmp_path, file):
    run = write_run(tmp_path / "run", file, 2, [right_every(2), right_every(3)])
    assert "accuracy before" in write_report(run).read_text()
    (run / "evaluation" / "step_000000" / "summary.json").unlink()
    text = write_report(run).read_text()
    assert "accuracy before" not in text
    assert "first evaluation" in text


def test_brackets_in_a_path_are_printed_as_they_are(tmp_path, file, capsys):
    run = write_run(tmp_path / "run[red][/b]", file, 1, [])
    done = CliRunner().invoke(app, ["report", str(run)])
    assert done.exit_code == 0, done.output
    assert f"report: {run / 'report.html'}" in done.output
    _show_results(run)
    assert f"report: {run / 'report.html'}" in capsys.readouterr().out


def test_two_evaluations_without_questions_are_refused(tmp_path, file):
    folders = [write_evaluation(tmp_path / name, file, right_every(2)) for name in ("a", "b")]
    for folder in folders:
        for name in ("predictions.json", "predictions.jsonl"):
            (folder / name).unlink()
    with pytest.raises(DataError, match="no questions to compare by; a and b hold none"):
        write_report(*folders)


def test_a_page_holds_every_question_and_the_asked_clips(tmp_path, file):
    folder = write_evaluation(tmp_path / "e", file, right_every(2))
    every = data_of(write_report(folder))["questions"]
    assert [row["id"] for row in every] == [f"q-{n:05d}" for n in range(6)]
    assert all(row["clip"] for row in every)
    only_wrong = data_of(write_report(folder, embedding=Embedding("wrong")))["questions"]
    assert {row["outcomes"][0] for row in only_wrong if row["clip"]} == {"wrong"}
    assert {row["outcomes"][0] for row in only_wrong if not row["clip"]} == {"right"}
    none = data_of(write_report(folder, embedding=Embedding("none")))["questions"]
    assert not any(row["clip"] for row in none)


def test_bad_folders_and_places_are_named(tmp_path, file):
    ours = write_evaluation(tmp_path / "a", file, right_every(2))
    with pytest.raises(ConfigError, match="given twice"):
        write_report(ours, tmp_path / "x" / ".." / "a")
    with pytest.raises(ConfigError, match="there is no folder"):
        write_report(ours, out=tmp_path / "none" / "page.html")
    with pytest.raises(DataError, match="the report cannot be written"):
        write_report(ours, out=tmp_path)
    unfinished = write_evaluation(tmp_path / "b", file, right_every(2), is_finished=False)
    with pytest.raises(DataError, match="has not ended, so it cannot be compared"):
        write_report(ours, unfinished)
    others = write_evaluation(tmp_path / "c", write_questions(tmp_path / "q", 4), right_every(2))
    with pytest.raises(DataError, match="answer different questions: 4 in both"):
        write_report(ours, others)
    assert not (ours / "report.html").exists()


def test_the_command_writes_into_the_first_folder_or_where_it_is_told(tmp_path, file):
    ours = write_evaluation(tmp_path / "a", file, right_every(2))
    theirs = write_evaluation(tmp_path / "b", file, right_every(3))
    run = write_run(tmp_path / "run", file, 2, [right_every(2)])
    for words, path, kind in (
        ([ours], ours / "report.html", "evaluation"),
        ([run], run / "report.html", "training run"),
        ([ours, theirs, "--out", tmp_path / "p.html"], tmp_path / "p.html", "comparison of two"),
        ([run, ours, theirs], run / "report.html", "3 runs side by side"),
    ):
        done = CliRunner().invoke(app, ["report", *map(str, words)])
        assert done.exit_code == 0, done.output
        assert f"report: {path}" in done.output
        assert f"keomni_rl {kind}" in path.read_text()
