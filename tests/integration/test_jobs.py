"""Runs as jobs of a cluster: submitted, watched, side by side, stopped and submitted again."""

import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from keomni_rl.observe.sinks import read_lines
from tests.faults.injector import num_unaccounted
from tests.processes import MARK, marked
from tests.training import ROOT

RAY = f"{sysconfig.get_path('scripts')}/ray"
SIZE = ("train.groups_per_step=4", "evaluation=null", "algo.beta=0", "observe.tensorboard=false")
SHORT = ("train.max_steps=4", "checkpoint.every_steps=2")
LONG = ("train.max_steps=1000", "checkpoint.every_steps=1000")
OURS = re.compile(r"keomni_rl\.cli|VLLM::|ray::\w+Actor")


def free_ports(number: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


class Head:
    """A head node on loopback, with ports, a folder and a token of its own."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        port, dashboard, client, agent, agent_grpc, metrics, more_metrics = free_ports(7)
        self.address = f"127.0.0.1:{port}"
        self.url = f"http://127.0.0.1:{dashboard}"
        kept = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
        self.env = kept | {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_API_SERVER_ADDRESS": self.url,
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # as on desktops, 127.0.0.1 stays so
            "DASHBOARD_METRIC_PORT": str(metrics),
            "AUTOSCALER_METRIC_PORT": str(more_metrics),
        }
        self.log = self.folder / "head.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    *(RAY, "start", "--head", "--block", "--disable-usage-stats"),
                    *("--node-ip-address=127.0.0.1", f"--port={port}", f"--temp-dir={folder}"),
                    *("--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}"),
                    *("--num-cpus=2", f"--object-store-memory={256 * 2**20}"),
                    f"--ray-client-server-port={client}",
                    f"--dashboard-agent-listen-port={agent}",
                    f"--dashboard-agent-grpc-port={agent_grpc}",
                ],
                stdout=log,
                stderr=log,
                env=self.env | {MARK: folder},
            )

    def ray(self, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [RAY, *words], env=self.env | env, capture_output=True, text=True, check=False, cwd=ROOT
        )

    def submit(self, name: str, command: list[str]) -> None:
        """As from a laptop: the checkout's code and configurations travel."""
        done = self.ray(
            *("job", "submit", "--no-wait", "--submission-id", name, "--working-dir", "."),
            *("--runtime-env", "cluster/runtime_env.yaml", "--", *command),
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]

    def info(self, job: str, part: str = "") -> dict:
        """What the job server says of a job."""
        token = self.env["RAY_AUTH_TOKEN"]
        url = f"{self.url}/api/jobs/{job}{part}"
        with urlopen(Request(url, headers={"Authorization": f"Bearer {token}"})) as answer:
            return json.load(answer)

    def logs(self, job: str) -> str:
        return self.info(job, "/logs")["logs"]

    def wait_until(self, is_so: Callable[[], object], job: str) -> None:
        """Wait for something that a job does."""
        while not is_so():
            info = self.info(job)
            assert info["status"] != "FAILED", info["message"]
            time.sleep(0.2)

    def end(self) -> None:
        """Take the cluster down; what does not leave by itself is killed, so that no test waits."""
        self.process.terminate()
        self.process.wait()
        deadline = time.monotonic() + 60
        while left := marked(str(self.folder)):
            if time.monotonic() > deadline:
                for pid in left:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            time.sleep(0.1)


@pytest.fixture(scope="module")
def head():
    with tempfile.TemporaryDirectory(prefix="k", dir="/tmp") as folder:  # sockets want short paths
        head = Head(folder)
        while head.ray("job", "list").returncode:
            assert head.process.poll() is None, head.log.read_text()[-3000:]
        yield head
        head.end()


def command(inputs, run_dir: Path, *words: str) -> list[str]:
    python, _, module, train, _, *rest = inputs.command(run_dir, *SIZE, *words)
    return [python, "-m", module, train, "configs/demo.yaml", *rest, "--start-or-resume"]


def events(run_dir: Path, name: str) -> list[dict]:
    return [e for e in read_lines(run_dir / "events.jsonl") if e["event"] == name]


def last_step(run_dir: Path) -> int:
    return max((m["step"] for m in read_lines(run_dir / "metrics.jsonl")), default=0)


@pytest.fixture(scope="module")
def long(head, inputs, tmp_path_factory) -> Path:
    """The folder of a job named `long`, which is running and does not end by itself."""
    run_dir = tmp_path_factory.mktemp("jobs") / "long"
    head.submit("long", command(inputs, run_dir, *LONG))
    head.wait_until(lambda: events(run_dir, "start"), "long")
    return run_dir


def test_a_job_ends_well_while_another_one_trains(head, inputs, long, tmp_path):
    short = tmp_path / "short"
    head.submit("short", command(inputs, short, *SHORT))
    head.wait_until(lambda: head.info("short")["status"] == "SUCCEEDED", "short")
    [start], [end] = events(short, "start"), events(short, "end")
    assert events(long, "start")[0]["time"] < start["time"]
    assert not events(long, "stopped")
    assert last_step(short) == end["step"] == 4
    assert (short / "checkpoints" / "step_000004" / "manifest.json").exists()
    assert (short / "report.html").exists()
    assert "Job 'short' succeeded" in head.ray("job", "status", "short").stdout
    assert f"report: {short}/report.html" in head.ray("job", "logs", "short").stdout


def test_a_stopped_job_keeps_what_it_learnt_and_goes_on_when_submitted_again(head, inputs, long):
    head.wait_until(lambda: "  reward " in head.logs("long"), "long")
    done = head.ray("job", "stop", "long")
    assert head.info("long")["status"] == "STOPPED", done.stdout + done.stderr
    [stopped] = events(long, "stopped")
    assert num_unaccounted(stopped) == 0
    kept = last_step(long)
    assert [p.name for p in (long / "checkpoints").iterdir()] == [f"step_{kept:06d}"]

    head.submit("again", command(inputs, long, *LONG))
    head.wait_until(lambda: last_step(long) > kept, "again")
    assert f"resuming at step {kept} from step_{kept:06d}" in head.logs("again")
    head.ray("job", "stop", "again")
    assert [m["step"] for m in read_lines(long / "metrics.jsonl")] == list(
        range(1, last_step(long) + 1)
    )

    actors = ("list", "actors", "--address", head.url, "--filter", "state=ALIVE")
    while "No resource in the cluster" not in (alive := head.ray(*actors)).stdout:
        assert alive.returncode == 0, alive.stderr
    while any(OURS.search(title) for title in marked(str(head.folder)).values()):
        time.sleep(0.1)


def test_a_job_takes_code_and_configurations_along_and_nothing_else(head, long):
    [sent] = head.folder.glob("session_2*/runtime_resources/working_dir_files/*/")
    names = {path.name for path in sent.iterdir()}
    assert {"configs", "keomni_rl", "pyproject.toml"} <= names
    assert not names & {"cluster", "data", "runs", "tests"}
    assert not [name for name in names if name.startswith(".")]
    code = {p.relative_to(sent) for p in (sent / "keomni_rl").rglob("*.py")}
    assert code == {p.relative_to(ROOT) for p in (ROOT / "keomni_rl").rglob("*.py")}


def test_nobody_gets_in_without_the_token(head):
    refused = head.ray("job", "list", RAY_AUTH_TOKEN=secrets.token_hex(32))
    assert refused.returncode != 0
    assert "Authentication failed" in refused.stdout + refused.stderr
    join = f"from keomni_rl.actors.remote import join_ray; join_ray('{head.address}')"
    done = subprocess.run(
        [sys.executable, "-c", join],
        env=head.env | {"RAY_AUTH_TOKEN": secrets.token_hex(32)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert f"ConfigError: cannot join the Ray cluster at {head.address}" in done.stderr
