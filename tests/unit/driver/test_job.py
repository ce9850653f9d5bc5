"""What a run notices of the job that it is."""

import json
from pathlib import Path

import pytest
from rich.console import Console

from keomni_rl.driver.job import STOP_WAIT, refuse_passing_folder, tell_short_stop
from keomni_rl.errors import ConfigError

JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"


@pytest.fixture
def job(monkeypatch, tmp_path):
    """A function that makes this process a job with a runtime environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(STOP_WAIT, raising=False)

    def submit(**runtime_env: object) -> None:
        monkeypatch.setenv(JOB, json.dumps({"runtime_env": runtime_env, "metadata": {}}))

    return submit


def test_results_of_a_job_must_not_lie_in_the_copy_of_the_submitters_folder(job, tmp_path):
    refuse_passing_folder(tmp_path / "run")
    job()
    refuse_passing_folder(tmp_path / "run")
    job(working_dir="gcs://_ray_pkg_1.zip")
    refuse_passing_folder(Path("/shared/run"))
    with pytest.raises(ConfigError, match="a copy that Ray removes"):
        refuse_passing_folder(tmp_path / "run")


def test_a_job_that_a_stop_would_kill_too_early_says_so(job, monkeypatch, capsys):
    tell_short_stop(Console())
    assert capsys.readouterr().out == ""
    job()
    tell_short_stop(Console())
    assert STOP_WAIT in capsys.readouterr().out
    monkeypatch.setenv(STOP_WAIT, "600")
    tell_short_stop(Console())
    assert capsys.readouterr().out == ""
