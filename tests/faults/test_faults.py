"""One run that loses every kind of process it has, is told to leave, is resumed, and ends well."""

import json
import math
import os
import signal
import subprocess

import psutil
import pytest

from keomni_rl.actors import cluster_metrics as shown
from tests.dashboard import METRICS, unanswered
from tests.faults.injector import Driver, num_unaccounted

STEPS = 14
EVALUATED = 6
BROKEN_OFF = 12


def kill(pids):
    assert pids
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def survived(inputs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("faults")
    run_dir = folder / "run"
    command = inputs.command(
        run_dir,
        f"train.max_steps={STEPS}",
        "train.groups_per_step=4",
        "checkpoint.every_steps=2",
        f"evaluation.every_steps={EVALUATED}",
        "faults.hang_s=30",
    )
    driver = Driver(command, run_dir, folder / "log")
    answers = folder_of(run_dir, EVALUATED) / "predictions.jsonl"

    driver.wait_for_step(1)
    doors = [
        connection.laddr.ip
        for pid in driver.left()
        for connection in psutil.Process(pid).net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    ]
    [learner] = map(psutil.Process, driver.actors("Learner"))
    limits = learner.rlimit(psutil.RLIMIT_FSIZE)
    # As a disk that is full: there is room for the weights in memory, and none for a file of them.
    room = int(driver.metrics()[0]["publish/bytes"]) + 4096
    learner.rlimit(psutil.RLIMIT_FSIZE, (room, limits[1]))
    kill(driver.actors("Rollout"))
    driver.wait_until(lambda: driver.events("checkpoint failed"))
    learner.rlimit(psutil.RLIMIT_FSIZE, limits)
    kill(driver.engines("Rollout"))
    driver.wait_for_step(3)
    for role in ("Reference", "Reward", "Audio"):
        kill(driver.actors(role))
    driver.wait_for_step(4)
    [stopped] = driver.actors("Rollout")
    os.kill(stopped, signal.SIGSTOP)
    driver.wait_for_step(5)
    kill(driver.actors("Learner"))
    driver.wait_until(lambda: driver.events("learner lost"))
    pages = []  # until all is served: last what became of the lost steps, and that takes Ray 10 s
    driver.wait_until(lambda: not unanswered(served(driver, pages)) or has_step(driver, EVALUATED))
    driver.wait_for_step(EVALUATED)
    driver.wait_until(lambda: answers.exists() and answers.stat().st_size)
    kill(driver.actors("Evaluator"))
    driver.wait_until(answers.with_name("summary.json").exists)
    answers = folder_of(run_dir, BROKEN_OFF) / "predictions.jsonl"
    driver.wait_until(lambda: answers.exists() and answers.stat().st_size)
    [stopped] = driver.engines("Evaluator")
    os.kill(stopped, signal.SIGSTOP)
    driver.wait_for_step(BROKEN_OFF + 1)
    code = driver.terminate()
    driver.wait_for_end()
    again = subprocess.run(
        inputs.resume(run_dir),
        capture_output=True,
        text=True,
        check=False,
    )
    assert again.returncode == 0, again.stdout[-2000:] + again.stderr[-2000:]
    run = inputs.finished(run_dir)
    return run, code, doors, pages[-1]


def served(driver, pages):
    pages.append(driver.served())
    return pages[-1]


def has_step(driver, step):
    return any(m["step"] == step for m in driver.metrics())


def folder_of(run_dir, step):
    return run_dir / "evaluation" / f"step_{step:06d}"


def events(run, name):
    return [event for event in run.events if event["event"] == name]


def test_steps_are_whole_and_versions_consistent(survived):
    run, *_ = survived
    assert [m["step"] for m in run.metrics] == list(range(1, STEPS + 1))
    for m in run.metrics:
        assert m["staleness/max"] == 0, m["step"]
        assert m["kl/rollout_policy_max"] < 1e-4, m["step"]


def test_whatever_listens_does_so_on_loopback(survived):
    _, _, doors, _ = survived
    assert len(doors) > 5
    assert {ip.removeprefix("::ffff:") for ip in doors} <= {"127.0.0.1", "::1"}


def test_every_loss_is_in_the_events(survived):
    run, *_ = survived
    causes = [event["cause"] for event in events(run, "rollout actor lost")]
    assert len(causes) == 3
    assert causes[2].startswith("it has not answered")
    assert len(events(run, "reference actor lost")) == 1
    assert len(events(run, "reward actor lost")) == 1
    assert len(events(run, "evaluator actor lost")) == 1
    [lost] = events(run, "learner lost")
    assert lost["back_to"] == 4  # the last checkpoint before the kill
    assert lost["step"] in (5, 6)


def test_no_version_is_given_to_other_weights(survived):
    run, *_ = survived
    sampled = [
        (step, completion["policy_version"])
        for step in range(1, STEPS + 1)
        for group in rollouts(run, step)
        for completion in group["completions"]
    ]
    steps_of = {}
    for step, (oldest, newest) in sampled:
        assert oldest == newest
        steps_of.setdefault(oldest, set()).add(step)
    assert all(len(steps) == 1 for steps in steps_of.values())
    assert list(steps_of) == sorted(steps_of)
    assert max(steps_of) > STEPS - 1  # the versions of the lost steps are not used again


def rollouts(run, step):
    lines = (run.path / "rollouts" / f"step_{step:06d}.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_a_disk_that_takes_no_checkpoint_does_not_end_the_run(survived):
    run, *_ = survived
    [failed] = events(run, "checkpoint failed")
    assert failed["step"] == 2
    assert "policy-00000.safetensors could not be written" in failed["cause"]
    assert "step_000002" not in {event["path"] for event in events(run, "checkpoint")}


@pytest.mark.parametrize("step", [EVALUATED, BROKEN_OFF])
def test_an_evaluation_that_lost_its_evaluator_or_its_driver_is_whole(survived, step):
    run, *_ = survived
    summary = run.evaluation(step)
    assert summary.n == 160
    assert summary.missing == summary.failed == 0
    assert summary.policy_version == step
    assert run.metrics[step - 1]["evaluation/accuracy"] == summary.accuracy


def test_sigterm_keeps_every_step(survived):
    run, code, *_ = survived
    assert code == 143
    [stopped] = events(run, "stopped")
    starts = events(run, "start")
    assert starts[1]["step"] == run_step_at(run, stopped)


def run_step_at(run, stopped):
    """The last step that was finished before an event."""
    return max(m["step"] for m in run.metrics if m["time"] <= stopped["time"])


def test_prometheus_is_served_every_metric_under_the_runs_name(survived):
    *_, page = survived
    for name, metric in METRICS.items():
        assert page.families[name].type == ("counter" if metric.is_counter else "gauge")
        for labels, value in page.series(metric):
            assert labels["run"] == "run"
            assert {*metric.tags, "NodeAddress"} <= labels.keys()
            assert math.isfinite(value)


def test_every_line_of_the_dashboard_finds_something(survived):
    *_, page = survived
    assert unanswered(page) == []


def test_what_prometheus_is_served_is_so(survived):
    run, *_, page = survived
    [[_, step]] = page.series(shown.STEP)
    assert 4 <= step <= EVALUATED
    restarts = page.sums(shown.RESTARTS, "role")
    assert [restarts[role] for role in ("rollout", "reward", "reference")] == [3, 1, 1]
    [lost] = events(run, "learner lost")
    lost_steps = lost["step"] - lost["back_to"]
    assert page.sums(shown.DROPPED, "reason")["rolled back"] == lost_steps * 4
    assert sum(page.sums(shown.SLOTS, "state").values()) == 4
    assert page.sums(shown.ACTORS, "role").keys() == {
        *("rollout", "evaluator", "reward", "reference")
    }
    [[_, answered]], [[_, questions]] = map(page.series, (shown.ANSWERED, shown.QUESTIONS))
    assert answered == questions == 160
    [[_, accuracy]] = page.series(shown.ACCURACY)
    assert accuracy == pytest.approx(run.evaluation(0).accuracy)
    assert all(value > 0 for value in page.sums(shown.TOKENS, "role").values())
    stages = page.sums(shown.STEP_SECONDS, "stage")
    assert stages["step"] == max(stages.values()) > stages["learner"] > 0
    [[_, sent]] = page.series(shown.PUBLISHED_BYTES)
    assert sent == run.metrics[0]["publish/bytes"]
    assert 0 <= page.sums(shown.REWARD, "part")["accuracy"] <= 1


def test_every_replacement_is_in_the_events_with_the_version_that_it_got(survived):
    run, *_ = survived
    replaced = [e["version"] for e in events(run, "rollout actor replaced")]
    assert len(replaced) == 3
    assert replaced == sorted(replaced)
    assert replaced[0] >= 1
    assert [e["version"] for e in events(run, "evaluator actor replaced")] == [
        e["version"] for e in events(run, "evaluation start") if e["step"] == EVALUATED
    ]
    [learner] = events(run, "learner replaced")
    [lost] = events(run, "learner lost")
    assert learner["step"] == lost["back_to"]
    assert learner["version"] > replaced[-1]


def test_evaluations_are_in_the_events(survived):
    run, *_ = survived
    ended = {e["step"]: e["accuracy"] for e in events(run, "evaluation end")}
    assert ended == {
        step: run.evaluation(step).accuracy for step in (0, EVALUATED, BROKEN_OFF, STEPS)
    }


def test_every_group_is_accounted_for(survived):
    run, *_ = survived
    accounts = events(run, "stopped") + events(run, "end")
    assert len(accounts) == 2
    for account in accounts:
        assert num_unaccounted(account) == 0
    assert sum(account["trained"] for account in accounts) == STEPS * 4
