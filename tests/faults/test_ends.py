"""Runs that cannot go on: each ends with one clear message, and what was learnt is kept."""

import json
import os
import signal
import subprocess

import pytest

from tests.faults.injector import Driver, num_unaccounted

RUN = ("train.max_steps=6", "train.groups_per_step=4", "checkpoint.every_steps=100")


@pytest.fixture(scope="module")
def without_rollouts(inputs, tmp_path_factory):
    """A run whose rollout actors are killed as soon as there is one."""
    folder = tmp_path_factory.mktemp("ends")
    driver = Driver(inputs.command(folder / "run", *RUN), folder / "run", folder / "log")
    driver.wait_for_step(2)
    num_killed = 0
    while driver.process.poll() is None:
        for pid in driver.actors("Rollout"):
            os.kill(pid, signal.SIGKILL)
            num_killed += 1
    return driver, num_killed


def test_rollout_actors_that_always_die_end_the_run_with_a_checkpoint(without_rollouts):
    driver, num_killed = without_rollouts
    assert driver.process.returncode == 1
    assert num_killed > 5
    [failed] = driver.events("failed")
    assert num_unaccounted(failed) == 0
    last = max(m["step"] for m in driver.metrics())
    assert (driver.run_dir / "checkpoints" / f"step_{last:06d}" / "manifest.json").exists()
    lines = driver.log.read_text().splitlines()
    assert lines[-1] == "error: all actors were lost and could not be replaced"


def test_a_gradient_that_overflows_ends_the_run_and_a_second_driver_is_refused(
    inputs, without_rollouts
):
    run_dir = without_rollouts[0].run_dir
    at = max(m["step"] for m in without_rollouts[0].metrics())
    resume = inputs.resume(run_dir, "algo.beta=1e38")
    driver = Driver(resume, run_dir, run_dir.parent / "second_log")
    driver.wait_until(lambda: driver.actors("Learner"))
    other = subprocess.run(resume, capture_output=True, text=True, check=False)
    assert other.returncode == 2
    assert "another driver" in other.stderr
    assert driver.process.wait() == 1
    assert "is NaN or infinite" in driver.log.read_text()
    [batch] = (run_dir / "failed_batches").iterdir()
    groups = [json.loads(line) for line in batch.read_text().splitlines()]
    assert len(groups) == 4
    assert len(groups[0]["completions"]) == 8
    assert max(m["step"] for m in driver.metrics()) == at
