"""``train`` and ``evaluate`` as a job that may be submitted again: start, or go on."""

import pytest
from typer.testing import CliRunner

from keomni_rl.cli.app import app
from keomni_rl.config import EvaluateConfig, RunConfig, load_config, to_yaml
from keomni_rl.driver.settle import settle
from keomni_rl.errors import ConfigError, DataError

RUN = {
    "train": (RunConfig, ["data.train=[no.jsonl]"]),
    "evaluate": (EvaluateConfig, ["evaluation.file=no.jsonl"]),
}


@pytest.fixture(params=RUN)
def submission(request, tiny_model, tmp_path, monkeypatch):
    """A command whose data are missing, and a function that puts a run into its folder."""
    monkeypatch.chdir(tmp_path)
    schema, words = RUN[request.param]
    words = [*words, "run_dir=run", f"model.path={tiny_model}"]

    def begin() -> None:
        (tmp_path / "run").mkdir(exist_ok=True)
        (tmp_path / "run" / "config.yaml").write_text(to_yaml(settle(load_config(schema, words))))

    return [request.param, *words], begin


def refusal(words: list[str]) -> Exception | None:
    return CliRunner().invoke(app, words).exception


def test_one_command_starts_a_run_and_goes_on_with_it(submission):
    words, begin = submission
    again = [*words, "--start-or-resume"]
    assert isinstance(refusal(words), DataError)  # as far as it comes: the data are missing
    assert isinstance(refusal(again), DataError)
    begin()
    assert "holds a run already" in str(refusal(words))
    assert isinstance(refusal(again), DataError)


def test_a_folder_is_named_once(submission):
    words, begin = submission
    begin()
    error = refusal([*words, "--start-or-resume", "--resume", "run"])
    assert isinstance(error, ConfigError)
    assert "give one of them" in str(error)


def test_json_is_of_a_check():
    error = refusal(["train", "my.yaml", "run_dir=run", "--json"])
    assert isinstance(error, ConfigError)
    assert "--json is of --check" in str(error)
