"""What a user gets for a mistake: one clear message, exit code 2, nothing heavy started."""

import json
import subprocess
import time

import pytest


def refused(inputs, run_dir, *overrides, check=False):
    command = [*inputs.command(run_dir, *overrides), *(["--check"] if check else [])]
    start = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert time.monotonic() - start < 60
    assert not (run_dir / "metrics.jsonl").exists()
    return " ".join(done.stderr.split())


def with_row(tmp_path, inputs, **change):
    """A training file whose second row is changed."""
    rows = [json.loads(line) for line in inputs.train.read_text().splitlines()[:2]]
    audio = tmp_path / "train"
    audio.mkdir()
    for row in rows:
        (tmp_path / row["audio"]).write_bytes((inputs.train.parent / row["audio"]).read_bytes())
    rows[1].update(change)
    path = tmp_path / "train.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path, tmp_path / rows[1]["audio"]


def test_unknown_key(inputs, tmp_path):
    assert "did you mean 'rollout.group_size'?" in refused(
        inputs, tmp_path / "r", "rollout.group_sise=4"
    )


def test_group_of_one(inputs, tmp_path):
    assert "greater than or equal to 2, got 1" in refused(
        inputs, tmp_path / "r", "rollout.group_size=1"
    )


def test_answer_not_among_the_choices(inputs, tmp_path):
    path, _ = with_row(tmp_path, inputs, answer="unicorn")
    message = refused(inputs, tmp_path / "r", f"data.train=[{path}]")
    assert "line 2: the answer 'unicorn' is not among the choices" in message


@pytest.mark.parametrize(
    ("damage", "words"),
    [("missing", "no such audio file"), ("empty", "empty audio file"), ("truncated", "truncated")],
)
def test_bad_audio(inputs, tmp_path, damage, words):
    path, audio = with_row(tmp_path, inputs)
    data = audio.read_bytes()
    audio.unlink()
    if damage != "missing":
        audio.write_bytes(b"" if damage == "empty" else data[: len(data) // 2])
    message = refused(inputs, tmp_path / "r", f"data.train=[{path}]")
    assert words in message or (damage == "truncated" and "cannot be decoded" in message)
    assert "train-000001" in message


def test_model_of_an_unknown_family(inputs, tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    message = refused(inputs, tmp_path / "r", f"model.path={tmp_path}")
    assert "model_type 'llama' is of no known family" in message


def test_more_gpus_than_the_cluster_has(inputs, tmp_path):
    for check in (True, False):
        message = refused(inputs, tmp_path / "r", "placement.rollout.gpus=64", check=check)
        assert "rollout 0 asks for 64 GPU" in message
        assert "the cluster has 1 nodes (0 GPU" in message


def test_a_run_folder_in_use(inputs, tmp_path):
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "config.yaml").write_text("run_dir: r\n")
    message = refused(inputs, tmp_path / "r")
    assert "holds a run already" in message
    assert "--resume" in message


def test_check_prints_the_plan_and_starts_nothing(inputs, tmp_path):
    done = subprocess.run(
        [*inputs.command(tmp_path / "r"), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "the same ids in learner and engine" in " ".join(done.stdout.replace("│", " ").split())
    assert not (tmp_path / "r").exists()
