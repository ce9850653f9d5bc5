"""``keomni-rl evaluate`` with real engines: nothing lost, nothing twice, whatever is killed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest

from tests.processes import MARK, marked

CPU = ("placement.evaluator.gpus=0", "placement.evaluator.cpus=0", "placement.evaluator.threads=1")
COPIES = 6


@pytest.fixture(scope="session")
def questions(inputs):
    """The held-out questions several times over, so that a run lasts long enough to be disturbed."""
    records = json.loads(inputs.heldout.read_text())
    many = [r | {"id": f"{r['id']}-{n}"} for n in range(COPIES) for r in records]
    file = inputs.heldout.parent / "many.json"
    file.write_text(json.dumps(many))
    return file


def command(model, file, run_dir, *words):
    return [
        *(sys.executable, "-m", "keomni_rl.cli", "evaluate", f"run_dir={run_dir}"),
        *(f"model.path={model}", "model.dtype=float32", f"evaluation.file={file}"),
        *("evaluation.max_new_tokens=40", "evaluation.max_in_flight=16"),
        *("engine.max_model_len=1024", *CPU, *words),
    ]


def answers(run_dir):
    lines = (run_dir / "predictions.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def texts(run_dir):
    return {p["id"]: p["model_output_raw"] for p in answers(run_dir)}


def start(arguments, mark):
    return subprocess.Popen(
        arguments,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {MARK: mark},
    )


def wait_for_answers(run_dir, driver, number):
    while not (run_dir / "predictions.jsonl").exists() or len(answers(run_dir)) < number:
        assert driver.poll() is None, "ended before it was disturbed"
        time.sleep(0.05)


@pytest.fixture(scope="session")
def resumed(inputs, questions, tmp_path_factory):
    """An evaluation whose driver was killed in the middle and that went on."""
    run_dir = tmp_path_factory.mktemp("resumed") / "run"
    driver = start(command(inputs.model, questions, run_dir), "resumed")
    wait_for_answers(run_dir, driver, 100)
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    before = answers_of_whole_lines(run_dir)
    done = subprocess.run(
        [*command(inputs.model, questions, run_dir)[:4], "--resume", str(run_dir), "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return run_dir, before, json.loads(done.stdout)


def answers_of_whole_lines(run_dir):
    text = (run_dir / "predictions.jsonl").read_text()
    return [json.loads(line) for line in text.split("\n")[:-1]]


def test_a_killed_evaluation_goes_on_and_asks_nothing_twice(resumed):
    run_dir, before, summary = resumed
    after = answers(run_dir)
    assert 100 <= len(before) < 160 * COPIES
    assert after[: len(before)] == before
    assert set(Counter(p["id"] for p in after).values()) == {1}
    assert len(after) == 160 * COPIES
    assert summary["n"] == 160 * COPIES
    assert summary["missing"] == summary["failed"] == 0
    assert summary["by_task"].keys() == {"sound", "music", "speech"}
    asked = [json.loads(e) for e in (run_dir / "events.jsonl").read_text().splitlines()]
    assert [e["asked"] for e in asked if e["event"] == "end"] == [160 * COPIES - len(before)]


def test_killing_evaluators_loses_no_question_and_scores_none_twice(
    inputs, questions, resumed, tmp_path
):
    run_dir, mark = tmp_path / "run", str(tmp_path)
    words = ("placement.evaluator.actors=2",)
    driver = start(command(inputs.model, questions, run_dir, *words), mark)
    for number in (60, 300, 600):
        wait_for_answers(run_dir, driver, number)
        victims = [p for p, c in marked(mark).items() if c.startswith("ray::EvaluatorActor")]
        os.kill(victims[number % len(victims)], signal.SIGKILL)
    assert driver.wait(timeout=600) == 0
    deadline = time.monotonic() + 30
    while left := [c for c in marked(mark).values() if "VLLM" in c]:
        assert time.monotonic() < deadline, left  # the engines of killed actors end too
        time.sleep(0.2)
    assert set(Counter(p["id"] for p in answers(run_dir)).values()) == {1}
    assert texts(run_dir) == texts(resumed[0])  # greedy: the same answers as undisturbed
    events = [json.loads(line) for line in (run_dir / "events.jsonl").read_text().splitlines()]
    assert len([e for e in events if e["event"] == "evaluator actor lost"]) >= 2


def test_other_settings_are_another_evaluation(inputs, questions, resumed):
    run_dir, *_ = resumed
    done = subprocess.run(
        [
            *command(inputs.model, questions, run_dir)[:4],
            *("--resume", str(run_dir), "evaluation.max_new_tokens=30"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "with other settings in 'evaluation'" in " ".join(done.stderr.split())


def test_score_judges_the_file_as_evaluate_did(resumed):
    run_dir, _, summary = resumed
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "keomni_rl.cli",
            "score",
            str(run_dir / "predictions.json"),
            "--json",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    judged = json.loads(done.stdout)
    assert {k: judged[k] for k in ("accuracy", "interval95", "n", "by_task")} == {
        k: summary[k] for k in ("accuracy", "interval95", "n", "by_task")
    }


def test_questions_without_answers_give_a_submission(inputs, tmp_path):
    records = json.loads(inputs.heldout.read_text())[:12]
    file = inputs.heldout.parent / "unanswered.json"
    file.write_text(json.dumps([{k: v for k, v in r.items() if k != "answer"} for r in records]))
    run_dir = tmp_path / "run"
    words = ("evaluation.temperature=1.0", "evaluation.samples=3")
    done = subprocess.run(
        [*command(inputs.model, file, run_dir, *words), "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    summary = json.loads(done.stdout)
    assert summary["accuracy"] is None
    assert summary["n"] == 12
    submission = json.loads((run_dir / "predictions.json").read_text())
    assert [r["id"] for r in submission] == [r["id"] for r in records]
    assert all("answer" not in r and isinstance(r["model_output"], str) for r in submission)
    assert all(len(p["samples"]) == 3 for p in answers(run_dir))
