"""A bundle with secrets put into every place that goes into it, none of which comes out."""

import json
import os
import time
import zipfile
from datetime import datetime
from pathlib import Path

import pytest
import yaml

from keomni_rl.doctor.bundle import Included, check_bundle, write_bundle
from keomni_rl.doctor.finding import Diagnosis, Status, failure, ok
from keomni_rl.errors import ConfigError

SECRETS = {
    "env": "env-s3cret-0001",
    "env_url_user": "envalice02",
    "env_url_password": "envhunter03",
    "env_named_by_config": "env-endpoint-0004",
    "config": "config-s3cret-0005",
    "config_url_user": "configbob06",
    "config_url_password": "confighunter07",
    "event": "event-s3cret-0008",
    "event_url_password": "eventhunter09",
    "event_key": "hf_EventEventEventEvent10",
    "log": "log-s3cret-0011",
    "log_bearer": "logbearer0012abcdef",
    "log_key": "AKIALOGLOGLOGLOG0013",
    "ray_log": "raylog-s3cret-0014",
    "finding": "findinghunter15",
    "metrics": "metrics-s3cret-0016",
}
QUESTION = "Which animal is heard in the far distance?"
COMPLETION = "<think>It barks twice.</think><answer>a dog</answer>"
SAMPLED = "I hear an owl and nothing else at all, so the answer must be the owl, as owls are heard at night"


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """A home folder, and an environment with secrets."""
    s = SECRETS
    home = tmp_path / "home" / "carol"
    home.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("WANDB_API_KEY", s["env"])
    monkeypatch.setenv("DATABASE", f"pg://{s['env_url_user']}:{s['env_url_password']}@db/x")
    monkeypatch.setenv("OUR_ENDPOINT", s["env_named_by_config"])
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path / "tmp"))
    return home


@pytest.fixture
def run(home, tmp_path) -> Path:
    """A run's folder with everything in it."""
    s = SECRETS
    run = home / "runs" / "first"
    (run / "rollouts").mkdir(parents=True)
    (run / "checkpoints" / "step_000001").mkdir(parents=True)
    (run / "checkpoints" / "step_000001" / "policy-00000.safetensors").write_bytes(b"weights")
    (run / "clip.wav").write_bytes(b"RIFF")
    config = {
        "run_dir": str(run),
        "data": {"train": [f"https://{s['config_url_user']}:{s['config_url_password']}@x/q.jsonl"]},
        "endpoint": {"api_key_env": "OUR_ENDPOINT", "password": s["config"]},
        "rollout": {"max_new_tokens": 64},
    }
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    begun = time.time() - 1000
    events = [
        {"time": begun, "event": "start", "step": 0},
        {"time": begun, "event": "store away", "cause": f"s3://u:{s['event_url_password']}@b/x"},
        {"time": begun, "event": "lost", "token": s["event"], "cause": f"sent {s['event_key']}"},
        {
            "time": begun,
            "event": "failed",
            "cause": f"reward 'r' on question 'q7', completion {SAMPLED!r}",
        },
        {"time": begun, "event": "failed", "cause": f"over {COMPLETION}, asked {QUESTION}"},
    ]
    write_lines(run / "events.jsonl", events)
    write_lines(
        run / "metrics.jsonl",
        [{"step": n, "loss/total": 0.5, "note": f"secret={s['metrics']}"} for n in range(300)],
    )
    rollout = {
        "question": QUESTION,
        "prompt": f"{QUESTION}\ndog or cat",
        "completions": [{"text": COMPLETION}],
    }
    write_lines(run / "rollouts" / "step_000001.jsonl", [rollout])
    (run / "train.log").write_text(
        f"starting with --token {s['log']}\n"
        f"Authorization: Bearer {s['log_bearer']}\n"
        f"again {s['config']} and {s['env']} and {s['env_named_by_config']} and {s['event']}\n"
        f"with {s['log_key']}\nin {home}/data and {QUESTION}\nLoss is 0.5\n"
    )
    (run / "elsewhere.log").symlink_to(tmp_path / "other.log")
    (tmp_path / "other.log").write_text("a file outside of the run")
    at = datetime.fromtimestamp(begun - 30).strftime("%Y-%m-%d_%H-%M-%S_%f")
    logs = tmp_path / "tmp" / "ray" / f"session_{at}_77" / "logs"
    logs.mkdir(parents=True)
    (logs / "worker-1.err").write_text(f"RAY_AUTH_TOKEN={s['ray_log']} worker of the run\n")
    earlier = tmp_path / "tmp" / "ray" / "session_2020-01-01_00-00-00_000000_5" / "logs"
    earlier.mkdir(parents=True)
    (earlier / "worker-2.err").write_text("worker of another run\n")
    return run


@pytest.fixture
def diagnosis(home) -> Diagnosis:
    found = f"http://proxy:{SECRETS['finding']}@10.0.0.1 and {SECRETS['env']} in {home}/x"
    return Diagnosis(
        keomni_rl="0.1.0",
        time=0,
        seconds=1,
        status=Status.FAILURE,
        findings=(ok("engines", "vllm", "loads"), failure("ray", "cluster", found, "mend it")),
    )


def write_lines(path: Path, lines: list) -> None:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def read(bundle: Path) -> dict[str, str]:
    with zipfile.ZipFile(bundle) as archive:
        return {name: archive.read(name).decode() for name in archive.namelist()}


@pytest.mark.parametrize("texts", [False, True])
def test_no_secret_of_any_place_is_in_any_file(run, diagnosis, tmp_path, home, texts):
    bundle = tmp_path / "report.zip"
    write_bundle(bundle, diagnosis, Included(run=run, texts=texts))
    files = read(bundle)
    for place, secret in SECRETS.items():
        leaks = [name for name, text in files.items() if secret in text or secret in name]
        assert not leaks, place
    assert not [name for name, text in files.items() if str(home) in text]
    assert "carol" not in "".join([*files, *files.values()])


def test_what_helps_is_there(run, diagnosis, tmp_path):
    bundle = tmp_path / "report.zip"
    write_bundle(bundle, diagnosis, Included(run=run, texts=False))
    files = read(bundle)
    (session,) = [name for name in files if name.endswith("worker-1.err")]
    assert set(files) == {
        "doctor.json",
        "packages.txt",
        "run/config.yaml",
        "run/events.jsonl",
        "run/metrics.jsonl",
        "run/logs/train.log",
        session,
    }
    assert Diagnosis.model_validate_json(files["doctor.json"]).findings[0].found == "loads"
    assert "\nrich==" in files["packages.txt"]
    config = yaml.safe_load(files["run/config.yaml"])
    assert config["run_dir"] == "~/runs/first"
    assert config["rollout"] == {"max_new_tokens": 64}
    events = [json.loads(line) for line in files["run/events.jsonl"].splitlines()]
    assert [e["event"] for e in events] == ["start", "store away", "lost", "failed", "failed"]
    metrics = [json.loads(line) for line in files["run/metrics.jsonl"].splitlines()]
    assert [line["step"] for line in metrics] == list(range(100, 300))
    assert "Loss is 0.5" in files["run/logs/train.log"]
    assert "worker of the run" in files[session]


def test_questions_and_completions_come_only_when_asked_for(run, diagnosis, tmp_path):
    bundle = tmp_path / "report.zip"
    write_bundle(bundle, diagnosis, Included(run=run, texts=False))
    whole = "".join(read(bundle).values())
    for text in (QUESTION, COMPLETION, "It barks twice", SAMPLED, "a dog"):
        assert text not in whole
    write_bundle(bundle, diagnosis, Included(run=run, texts=True))
    files = read(bundle)
    assert COMPLETION in files["run/rollouts.jsonl"]
    assert SAMPLED in files["run/events.jsonl"]


def test_a_broken_run_goes_in_as_far_as_it_can_be_read(run, diagnosis, tmp_path):
    (run / "config.yaml").write_text("a: [unclosed\ntoken: " + SECRETS["config"])
    (run / "events.jsonl").write_text('{"event": "start"}\n{"event": "cut", "token": "sec')
    os.unlink(run / "metrics.jsonl")
    os.mkfifo(run / "metrics.jsonl")
    bundle = tmp_path / "report.zip"
    write_bundle(bundle, diagnosis, Included(run=run, texts=False))
    files = read(bundle)
    assert "unclosed" in files["run/config.yaml"]
    assert SECRETS["config"] not in files["run/config.yaml"]
    assert files["run/events.jsonl"] == '{"event": "start"}\n'
    assert "run/metrics.jsonl" not in files


def test_a_log_is_cut_between_lines(run, diagnosis, tmp_path):
    long = "x" * 100 + "\n"
    (run / "train.log").write_text("token=" + "S" * 100_000 + "\n" + long * 300)
    bundle = tmp_path / "report.zip"
    write_bundle(bundle, diagnosis, Included(run=run, texts=False))
    assert read(bundle)["run/logs/train.log"] == long * 300


@pytest.mark.parametrize(
    ("bundle", "run", "texts", "told"),
    [
        (None, "runs/x", False, "--run and --texts are of a bundle"),
        (None, None, True, "--run and --texts are of a bundle"),
        ("x.zip", None, True, "give --run RUN_DIR too"),
        ("x.zip", "none", False, "holds no run"),
        ("none/x.zip", None, False, "there is no folder"),
        (".", None, False, "this is a folder"),
    ],
)
def test_a_bundle_that_cannot_be_is_refused_at_once(
    tmp_path, monkeypatch, bundle, run, texts, told
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=told):
        check_bundle(bundle and Path(bundle), Included(run=run and Path(run), texts=texts))


def test_a_disk_that_is_full_leaves_nothing(diagnosis):
    with pytest.raises(ConfigError, match="cannot be written"):
        write_bundle(Path("/proc/self/x.zip"), diagnosis, Included(run=None, texts=False))
