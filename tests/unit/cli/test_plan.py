"""``keomni-rl plan`` as it is typed: what it prints, and its one message for each mistake."""

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from keomni_rl.cli.app import app, main
from keomni_rl.planning.rates import write_rates
from tests.unit.planning.conftest import rates, write_omni  # noqa: F401 - a fixture

RECIPE = str(Path(__file__).parents[3] / "configs" / "ke_omni_r_7b.yaml")


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """Nothing but a config.json in ``model``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    write_omni(tmp_path / "model", "7b")
    return tmp_path


def planned(*words: str):
    return CliRunner().invoke(app, ["plan", RECIPE, "model.path=model", *words])


def test_a_config_json_is_enough_to_tell_memory_and_advice(folder):
    done = planned("--gpu-memory", "80", "placement.rollout.gpus=8")
    assert done.exit_code == 0, done.output
    assert "8,255,263,744 parameters, ZeRO-3 over 4 ranks" in done.output
    assert "transfer: 15.377 GiB" in done.output
    assert "does not divide the audio tower's 20 heads" in done.output
    assert "time: not told without --rates" in done.output


def test_rates_tell_time_and_the_table_of_replicas(folder, rates):  # noqa: F811
    write_rates(folder / "rates.json", rates)
    done = planned("--rates", "rates.json")
    assert done.exit_code == 0, done.output
    assert "<- bottleneck" in done.output
    assert "beware: rates were taken on 16 x some, some" in done.output
    assert "│          1,024 │" in done.output


def test_json_is_one_object(folder, rates):  # noqa: F811
    write_rates(folder / "rates.json", rates)
    plan = json.loads(planned("--rates", "rates.json", "--json").stdout)
    assert [role["role"] for role in plan["memory"]] == [
        "learner",
        "rollout",
        "reference",
        "evaluator",
    ]
    assert len(plan["timing"]["scaling"]) == 11
    assert plan["transfer_bytes"] == 2 * 8_255_263_744


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--bandwidth", "-1"], "--bandwidth: -1, wanted a number above 0"),
        (["--gpu-memory", "0"], "--gpu-memory: 0, wanted a number above 0"),
        (["--gpu-memory", "nan"], "--gpu-memory: nan, wanted a number above 0"),
        (["--rates", "model/config.json"], "wanted a file of rates"),
        (["--rates", "none.json"], "none.json: cannot be read"),
        (["model.path=."], "no config.json"),
    ],
)
def test_a_mistake_is_one_message(folder, monkeypatch, capsys, words, told):
    command = ["keomni-rl", "plan", RECIPE, "model.path=model", *words]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 2
    assert told in capsys.readouterr().err
