"""Whole runs through the command line: real Ray, vLLM and DeepSpeed on the tiny model."""

import json
import signal

import pytest

from tests.faults.injector import Driver

SHORT = ("train.max_steps=6", "train.groups_per_step=4", "checkpoint.every_steps=2")


def assert_consistent(run, *, max_staleness=0):
    """What holds at every step of every run."""
    steps = [m["step"] for m in run.metrics]
    assert steps == list(range(1, len(steps) + 1))
    for m in run.metrics:
        assert m["kl/rollout_policy_max"] < 1e-4 or m["staleness/max"] > 0, m["step"]
        assert 0 <= m["staleness/max"] <= max_staleness
        assert m["staleness/mean"] >= 0


@pytest.fixture(scope="session")
def learned(inputs, tmp_path_factory):
    """A run long enough to learn."""
    return inputs.run(tmp_path_factory.mktemp("learned") / "run", "train.max_steps=30")


def test_training_raises_heldout_accuracy(learned):
    assert_consistent(learned)
    before, after = learned.evaluation(0), learned.evaluation(30)
    assert before.accuracy <= 0.6
    assert after.accuracy >= before.accuracy + 0.15
    assert after.format >= 0.95
    assert after.missing == after.failed == 0
    assert after.policy_version == 30


def test_the_second_family_learns_too(inputs_qwen2_audio, tmp_path):
    run = inputs_qwen2_audio.run(tmp_path / "run", "train.max_steps=30")
    assert_consistent(run)
    before, after = run.evaluation(0), run.evaluation(30)
    assert before.accuracy <= 0.65
    assert after.accuracy >= before.accuracy + 0.1
    assert after.format >= 0.95
    assert after.missing == after.failed == 0


def test_a_run_leaves_what_its_readers_expect(learned):
    files = {p.name for p in learned.path.iterdir()}
    assert {"config.yaml", "metrics.jsonl", "events.jsonl", "report.html", "tensorboard"} <= files
    predictions = json.loads(
        (learned.path / "evaluation" / "step_000030" / "predictions.json").read_text()
    )
    assert len(predictions) == 160
    assert all(
        {"id", "audio_id", "model_output", "model_output_raw"} <= p.keys() for p in predictions
    )
    rollouts = (learned.path / "rollouts" / "step_000030.jsonl").read_text().splitlines()
    group = json.loads(rollouts[0])
    assert len(group["completions"]) == 8
    assert abs(sum(c["advantage"] for c in group["completions"])) < 1e-3
    assert next(e["event"] for e in learned.events) == "start"
    assert [e["event"] for e in learned.events][-1] == "end"


def test_without_a_learning_rate_nothing_is_learnt(inputs, tmp_path):
    """The test above can fail: the same run with rate 0 answers as it did."""
    run = inputs.run(tmp_path / "run", "train.max_steps=3", "learner.lr=0", "learner.zero_stage=0")
    before, after = run.evaluation(0), run.evaluation(3)
    assert after.accuracy == before.accuracy
    assert all(m["kl/ref_mean"] < 1e-6 for m in run.metrics)


def test_two_ranks_of_zero_3_and_two_rollout_actors_one_version_stale(inputs, tmp_path):
    run = inputs.run(
        tmp_path / "run",
        *SHORT,
        "learner.zero_stage=3",
        "placement.learner.actors=2",
        "placement.learner.threads=1",
        "placement.rollout.actors=2",
        "placement.rollout.threads=1",
        "train.max_staleness=1",
        "train.dynamic_sampling=true",
        "algo.beta=0",
    )
    assert_consistent(run, max_staleness=1)
    assert max(m["staleness/max"] for m in run.metrics) == 1
    assert "kl/ref_mean" not in run.metrics[0]
    dropped = [e for e in run.events if e["event"] == "group dropped"]
    assert len(dropped) == sum(m["rollout/dropped_equal_groups"] for m in run.metrics)
    assert all(m["rollout/equal_reward_share"] == 0 for m in run.metrics)


def test_a_run_that_is_killed_and_interrupted_ends_like_an_unbroken_one(inputs, tmp_path):
    unbroken = inputs.run(tmp_path / "unbroken", *SHORT)
    broken = tmp_path / "broken"

    driver = Driver(inputs.command(broken, *SHORT), broken, tmp_path / "log")
    driver.wait_until((broken / "checkpoints" / "step_000002").exists)
    driver.process.send_signal(signal.SIGKILL)
    driver.process.wait()
    driver.wait_for_end()

    resume = inputs.resume(broken)
    driver = Driver(resume, broken, tmp_path / "log")
    driver.wait_for_step(3)
    driver.process.send_signal(signal.SIGINT)
    assert driver.process.wait() == 130
    driver.wait_for_end()

    driver = Driver(resume, broken, tmp_path / "log")
    assert driver.process.wait() == 0
    assert "resuming at step 2" in driver.log.read_text()
    resumed = inputs.finished(broken)
    assert_consistent(resumed)
    for a, b in zip(unbroken.metrics, resumed.metrics, strict=True):
        assert b["reward/mean"] == a["reward/mean"]
        assert b["loss/total"] == pytest.approx(a["loss/total"], abs=1e-5)
    assert resumed.evaluation(6).accuracy == unbroken.evaluation(6).accuracy
