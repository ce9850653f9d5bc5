"""W&B and MLflow through their own clients, kept on this disk."""

import importlib.util
import json
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
import wandb
from mlflow import MlflowClient
from wandb.proto.wandb_internal_pb2 import Record

from keomni_rl.config import RunConfig, load_config, to_yaml
from keomni_rl.driver.run_dir import prepare_run_dir
from keomni_rl.errors import ConfigError
from keomni_rl.observe.sinks import MetricsWriter
from keomni_rl.observe.trackers import check_trackers, open, tracked

MINE = "reward/rewards/../mine.py:brief_mean"


@pytest.fixture
def offline(monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def config_of(folder: Path, *words: str) -> RunConfig:
    fixed = ["model.path=models/tiny", "data.train=[mine.jsonl]"]
    return load_config(RunConfig, [*fixed, f"run_dir={folder}", *words])


def run_steps(config: RunConfig, steps, *, evaluated: int | None = None) -> None:
    config.folder.mkdir(exist_ok=True)
    with tracked(config) as trackers:
        writer = MetricsWriter(config.folder, tensorboard=False, trackers=trackers)
        for step in steps:
            writer.write(step, {"reward/mean": step / 4, MINE: 1.0})
        if evaluated is not None:
            writer.add_evaluations({evaluated: {"evaluation/accuracy": 0.75}})


def wandb_records(content: bytes) -> Iterator[Record]:
    """What an offline file holds: a LevelDB log with seven bytes of W&B's own before it."""
    place, parts = 7, b""
    while place + 7 <= len(content):
        if (left := 32768 - place % 32768) < 7:
            place += left
            continue
        _, size, kind = struct.unpack_from("<IHB", content, place)
        parts += content[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in (1, 4):  # whole, or the last part
            yield Record.FromString(parts)
            parts = b""


def wandb_history(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Metric -> (step, value), over all that was logged."""
    found: dict[str, list[tuple[int, float]]] = {}
    for file in sorted(folder.glob("wandb/offline-run-*/*.wandb"), key=lambda f: f.stat().st_mtime):
        for record in wandb_records(file.read_bytes()):
            row = {
                item.key or ".".join(item.nested_key): json.loads(item.value_json)
                for item in record.history.item
            }
            for name, value in row.items():
                if "/" in name:
                    found.setdefault(name, []).append((row["step"], value))
    return found


def test_wandb_gets_every_step_and_evaluations_those_they_are_of(tmp_path, offline):
    config = config_of(tmp_path / "run", "observe.wandb.project=mine")
    run_steps(config, [1, 2], evaluated=0)
    history = wandb_history(config.folder)
    assert history["reward/mean"] == [(1, 0.25), (2, 0.5)]
    assert history["evaluation/accuracy"] == [(0, 0.75)]


def test_a_resumed_run_goes_on_as_the_same_run_at_wandb(tmp_path, offline):
    config = config_of(tmp_path / "run", "observe.wandb.project=mine")
    run_steps(config, [1, 2])
    (config.folder / "config.yaml").write_text(to_yaml(config))
    prepare_run_dir(config.folder, command="train", resume=True)  # no link leads out of it
    run_steps(config, [3], evaluated=2)
    ids = {file.stem for file in config.folder.glob("wandb/offline-run-*/*.wandb")}
    assert len(ids) == 1
    assert wandb_history(config.folder)["reward/mean"] == [(1, 0.25), (2, 0.5), (3, 0.75)]
    assert wandb_history(config.folder)["evaluation/accuracy"] == [(2, 0.75)]


def test_mlflow_keeps_one_run_over_a_resumption(tmp_path, offline):
    config = config_of(tmp_path / "run", "observe.mlflow.experiment=mine", "train.max_steps=3")
    run_steps(config, [1, 2])
    run_steps(
        config_of(tmp_path / "run", "observe.mlflow={}", "train.max_steps=9"), [3], evaluated=2
    )
    client = MlflowClient(tracking_uri=(config.folder / "mlflow").as_uri())
    (run,) = client.search_runs([client.get_experiment_by_name("mine").experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.params["train.max_steps"] == "3"
    shown = client.get_metric_history(run.info.run_id, "reward/mean")
    assert sorted((m.step, m.value) for m in shown) == [(1, 0.25), (2, 0.5), (3, 0.75)]
    (late,) = client.get_metric_history(run.info.run_id, "evaluation/accuracy")
    assert (late.step, late.value) == (2, 0.75)
    assert client.get_metric_history(run.info.run_id, "reward/rewards/_/mine.py:brief_mean")


def test_a_run_that_fails_is_shown_as_failed(tmp_path, offline):
    config = config_of(tmp_path / "run", "observe.mlflow={}")
    config.folder.mkdir()
    with pytest.raises(RuntimeError), tracked(config):
        raise RuntimeError("lost")
    client = MlflowClient(tracking_uri=(config.folder / "mlflow").as_uri())
    (run,) = client.search_runs([client.get_experiment_by_name("keomni_rl").experiment_id])
    assert run.info.status == "FAILED"


def test_what_mlflow_refuses_is_one_message_at_the_start_and_a_warning_later(
    tmp_path, offline, caplog
):
    config = config_of(tmp_path / "run", "observe.mlflow.tracking_uri=ftp://nowhere/x")
    config.folder.mkdir()
    with pytest.raises(ConfigError, match=r"observe\.mlflow: ftp://nowhere/x does not take this"):
        tracked(config).__enter__()
    with tracked(config_of(tmp_path / "run", "observe.mlflow={}")) as (tracker,):
        tracker.show(1, {"area/" + "x" * 300: 1.0})
    assert "MLflow does not take a step's metrics" in caplog.text
    assert "MLflow lacks 1 batches" in caplog.text


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_tracker_that_is_not_installed_is_one_message(name, tmp_path, monkeypatch):
    (tmp_path / f"{name}_absent").mkdir()  # as W&B's own folder of runs would be
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(open.INSTALLED, name, f"{name}_absent")
    assert importlib.util.find_spec(f"{name}_absent") is not None
    config = config_of(tmp_path, f"observe.{name}={{}}")
    with pytest.raises(ConfigError, match=rf"observe\.{name}: asked for.*keomni-rl\[{name}\]"):
        check_trackers(config.observe)
    check_trackers(config_of(tmp_path).observe)


def test_a_run_that_would_have_to_ask_for_a_key_does_not_start(tmp_path, monkeypatch):
    wandb.teardown()  # it looks at the environment once
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for name in ("WANDB_MODE", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match="no key for W&B"):
        check_trackers(config_of(tmp_path, "observe.wandb={}").observe)


def test_no_secret_is_in_a_configuration(tmp_path):
    with pytest.raises(ConfigError, match="MLFLOW_TRACKING_USERNAME"):
        config_of(tmp_path, "observe.mlflow.tracking_uri=https://me:pass@host/x")
    text = to_yaml(config_of(tmp_path, "observe.wandb={}", "observe.mlflow={}"))
    assert "key" not in text.split("observe:")[1]
