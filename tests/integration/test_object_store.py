"""Runs whose folder is in an object store: killed, resumed as on another machine, read from it."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter

import pytest

from keomni_rl.config.run_dir import work_dir, working_folder
from tests.faults.injector import Driver
from tests.object_store import KEYS
from tests.training import Finished

TRAINED = "s3://runs/team/trained"
EVALUATED = "s3://runs/team/evaluated"
STEPS = 8
SHORT = (
    f"train.max_steps={STEPS}",
    "train.groups_per_step=4",
    "checkpoint.every_steps=2",
    "evaluation=null",
    "algo.beta=0",
)
CPU = ("placement.evaluator.gpus=0", "placement.evaluator.cpus=0")


def keomni_rl(*words):
    return subprocess.run(
        [sys.executable, "-m", "keomni_rl.cli", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
    )


def kill(driver):
    driver.process.send_signal(signal.SIGKILL)
    driver.process.wait()
    driver.wait_for_end()


def leave_nothing_here():
    """What comes next is as on another machine."""
    shutil.rmtree(work_dir())


@pytest.fixture(scope="module")
def trained(inputs, object_store, tmp_path_factory):
    """A run that sees its store away, is killed, finds its newest checkpoint damaged, loses its
    learner, and ends; its folder, copied out of the store, and what was told meanwhile."""
    log = tmp_path_factory.mktemp("trained") / "log"
    here = working_folder(TRAINED)

    def whole():
        names = object_store.names("team/trained/checkpoints")
        return sorted(name.split("/")[0] for name in names if name.endswith("/manifest.json"))

    driver = Driver(inputs.command(TRAINED, *SHORT), here, log)
    driver.wait_until(lambda: "config.yaml" in object_store.names("team/trained"))
    second = keomni_rl("train", "--resume", TRAINED)
    driver.wait_for_step(1)
    object_store.stop()
    driver.wait_until(lambda: driver.events("store away"))
    object_store.start()
    driver.wait_until(lambda: len(whole()) == 2)
    kill(driver)
    before, damaged = whole()
    weights = f"team/trained/checkpoints/{damaged}/policy-00000.safetensors"
    content = object_store.read(weights)
    object_store.write(weights, content[:-1] + bytes([content[-1] ^ 1]))
    leave_nothing_here()

    driver = Driver(inputs.resume(TRAINED), here, log)
    driver.wait_until(lambda: len(driver.events("start")) == 2)
    num_saved = len(driver.events("checkpoint"))
    driver.wait_until(lambda: len(driver.events("checkpoint")) > num_saved)
    for pid in driver.actors("Learner"):
        os.kill(pid, signal.SIGKILL)
    assert driver.process.wait() == 0, log.read_text()[-3000:]
    driver.wait_for_end()
    left = [path for path in (work_dir() / "fetched").rglob("*") if path.is_file()]
    leave_nothing_here()
    folder = tmp_path_factory.mktemp("copied")
    for name in object_store.names("team/trained"):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(object_store.read(f"team/trained/{name}"))
    told = " ".join(log.read_text().split())
    assert f"{damaged} is damaged" in told
    assert f"resuming at step {int(before[-6:])} from {before}" in told
    return Finished(folder), second, left


def test_a_killed_run_goes_on_from_the_store_alone(trained):
    run, *_ = trained
    assert [m["step"] for m in run.metrics] == list(range(1, STEPS + 1))
    assert all(m["kl/rollout_policy_max"] < 1e-4 for m in run.metrics)
    events = Counter(event["event"] for event in run.events)
    assert events["start"] == 2
    assert events["learner lost"] >= 1
    assert events["end"] == 1
    assert events["store away"] == events["store back"] == 1


def test_the_store_holds_what_a_run_folder_holds_and_no_more(trained):
    run, _, left = trained
    names = {path.name for path in run.path.iterdir()}
    files = {"config.yaml", "metrics.jsonl", "events.jsonl", "report.html"}
    assert names == files | {"checkpoints", "rollouts", "tensorboard"}
    kept = {path.name for path in (run.path / "checkpoints").iterdir()}
    assert kept == {"step_000006", "step_000008"}
    assert len(list((run.path / "rollouts").iterdir())) == STEPS
    assert not any(
        KEYS["AWS_SECRET_ACCESS_KEY"].encode() in path.read_bytes()
        for path in run.path.rglob("*")
        if path.is_file()
    )
    assert [path.suffix for path in left] == [".lock"]


def test_a_second_driver_is_refused(trained):
    _, second, _ = trained
    assert second.returncode == 2
    told = " ".join(second.stderr.split())
    assert f"{TRAINED}: another driver (process" in told
    assert "stop it first" in told


def test_a_bucket_that_is_not_there_is_one_message(inputs, object_store):
    command = inputs.command("s3://nowhere/run", *SHORT)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    told = " ".join(done.stderr.split())
    assert "s3://nowhere/run: there is no such bucket; make it, or correct the URL" in told
    assert "Traceback" not in told


def test_what_was_learnt_is_exported_and_reported_from_the_store(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = keomni_rl("export", f"{TRAINED}/checkpoints/step_000008", "one")
    assert done.returncode == 0, done.stderr
    done = keomni_rl("export", TRAINED, "newest")
    assert done.returncode == 0, done.stderr
    assert f"step_000008 of {TRAINED}" in done.stdout
    for name in ("one", "newest"):
        assert list((tmp_path / name).glob("*.safetensors"))
    done = keomni_rl("report", TRAINED)
    assert done.returncode == 0, done.stderr
    assert f"report: {TRAINED}/report.html" in done.stdout
    assert "trained" in (tmp_path / "trained.html").read_text()


def test_an_evaluation_goes_on_from_the_store_alone(inputs, object_store, tmp_path):
    command = [
        *(sys.executable, "-m", "keomni_rl.cli", "evaluate", f"run_dir={EVALUATED}"),
        *(f"model.path={inputs.model}", "model.dtype=float32", f"evaluation.file={inputs.heldout}"),
        *("evaluation.max_new_tokens=40", "evaluation.max_in_flight=2"),
        *("engine.max_model_len=1024", *CPU),
    ]
    name = "team/evaluated/predictions.jsonl"

    def stored():
        if "predictions.jsonl" not in object_store.names("team/evaluated"):
            return []
        return [json.loads(line) for line in object_store.read(name).splitlines()]

    driver = Driver(command, working_folder(EVALUATED), tmp_path / "log")
    driver.wait_until(stored)
    kill(driver)
    before = stored()
    leave_nothing_here()
    done = keomni_rl("evaluate", "--resume", EVALUATED, "--json")
    assert done.returncode == 0, done.stderr[-3000:]
    after = stored()
    assert 0 < len(before) < 160
    assert after[: len(before)] == before
    assert set(Counter(p["id"] for p in after).values()) == {1}
    summary = json.loads(done.stdout)
    assert summary["n"] == len(after) == 160
    assert summary["missing"] == summary["failed"] == 0

    leave_nothing_here()
    judged = keomni_rl("score", f"{EVALUATED}/predictions.json", "--json")
    assert judged.returncode == 0, judged.stderr
    assert json.loads(judged.stdout)["accuracy"] == summary["accuracy"]
    names = {"config.yaml", "events.jsonl", "summary.json", "report.html"}
    assert names | {"predictions.jsonl", "predictions.json"} == object_store.names("team/evaluated")
