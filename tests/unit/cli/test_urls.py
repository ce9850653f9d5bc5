"""``score`` and ``report`` of what lies in an object store say what they say of files."""

import json
import re
from pathlib import Path

import pytest
from report_folders import right_every, write_evaluation, write_questions, write_run
from typer.testing import CliRunner

from keomni_rl.cli.app import app
from keomni_rl.errors import DataError


def told(*words: str) -> str:
    done = CliRunner().invoke(app, words, catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


@pytest.fixture(scope="module")
def folders(object_store, tmp_path_factory):
    """A run and an evaluation, here and in the store under ``read/``."""
    folder = tmp_path_factory.mktemp("folders")
    file = write_questions(folder / "questions", 6)
    write_run(folder / "run", file, 2, [right_every(2), right_every(3)])
    write_evaluation(folder / "evaluated", file, right_every(3))
    object_store.upload(folder, "read")
    return folder


def test_a_score_is_the_same(folders):
    for words in ((), ("--compare",)):
        here, there = (
            json.loads(
                told(
                    *("score", f"{at}/evaluated/predictions.json", "--json"),
                    *(f"{word}={at}/run/evaluation/step_000000/predictions.json" for word in words),
                )
            )
            for at in (folders, "s3://runs/read")
        )
        assert there | {"names": None} == here | {"names": None}


def made_here(folder: Path) -> bytes:
    told("report", str(folder))
    return (folder / "report.html").read_bytes()


def test_reports_are_written_here_and_there(folders, object_store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("run", "evaluated"):
        out = told("report", f"s3://runs/read/{name}")
        assert f"report: {name}.html" in out
        assert f"report: s3://runs/read/{name}/report.html" in out
        page = (tmp_path / f"{name}.html").read_bytes()
        assert object_store.read(f"read/{name}/report.html") == page
        heading = re.compile(rb"<h1>.*?</h1>", re.DOTALL)
        assert heading.search(page)[0] == heading.search(made_here(folders / name))[0]


def test_one_evaluation_of_a_run_is_reported_under_the_runs_name(folders, tmp_path):
    page = tmp_path / "page.html"
    told("report", "s3://runs/read/run/evaluation/step_000002", "--out", str(page))
    assert "run/step_000002" in page.read_text()


def test_what_is_not_there_is_one_message(object_store):
    with pytest.raises(DataError, match="s3://runs/read/x.json: no such file"):
        told("score", "s3://runs/read/x.json")
