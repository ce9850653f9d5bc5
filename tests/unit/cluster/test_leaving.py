"""What the scripts of cluster/ do when a run ends and when its node is taken away.

Slurm's and Kubernetes' programs, which there are none of here, are small scripts that note how they
were called.
"""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.unit.cluster.files import CLUSTER

PROGRAMS = {
    "python": "echo 12345",  # an address, a port, a token; and that all nodes have joined
    "scontrol": 'echo "$@" >scontrol',
    "srun": """
        sleep 1000 &
        trap "kill $!; echo ended >>srun; exit" TERM
        echo "$@" >>srun
        wait""",
    "keomni-rl": """
        echo "$@" >started.part
        env | grep ^RAY_ | sort >environment
        trap 'echo checkpoint >kept; exit 143' TERM
        mv started.part started
        until [ -e code ]; do /bin/sleep 0.05; done
        exit "$(cat code)" """,
}
WORDS = ["train", "configs/a.yaml", "run_dir=/shared/a b"]


@pytest.fixture
def folder(tmp_path) -> Path:
    """Where the programs leave what they were called with; they are first on the path."""
    install(tmp_path, PROGRAMS)
    return tmp_path


def install(folder: Path, programs: dict[str, str]) -> None:
    (folder / "bin").mkdir(exist_ok=True)
    for name, text in programs.items():
        file = folder / "bin" / name
        file.write_text(f"#!/usr/bin/env bash\n{text}\n")
        file.chmod(0o755)


def slurm(folder: Path, nodes: int) -> subprocess.Popen[bytes]:
    env = {"SLURM_JOB_ID": "7", "SLURMD_NODENAME": "n1", "SLURM_CPUS_ON_NODE": "64"}
    env |= {"SLURM_JOB_NUM_NODES": str(nodes), "VIRTUAL_ENV": str(folder)}
    env |= {"BASH_ENV": str(folder / "bash_env")}
    return subprocess.Popen(
        ["bash", CLUSTER / "slurm.sh", *WORDS], cwd=folder, env=env | {"PATH": os.environ["PATH"]}
    )


def wait_for(file: Path, process: subprocess.Popen[bytes]) -> str:
    while not file.exists():
        assert process.poll() is None
        time.sleep(0.02)
    return file.read_text()


def lines(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []


@pytest.mark.parametrize("code", [0, 1, 2, 143])
def test_a_slurm_job_ends_as_its_run_does_and_takes_the_cluster_down(folder, code):
    job = slurm(folder, nodes=3)
    assert wait_for(folder / "started", job) == " ".join([*WORDS, "--start-or-resume\n"])
    while len(lines(folder / "srun")) < 2:
        time.sleep(0.02)
    (folder / "code").write_text(str(code))
    assert job.wait() == code
    head, workers, *ends = sorted(lines(folder / "srun"))
    assert "--nodes=1 --nodelist=n1 ray start --head --block" in head
    assert "--nodes=2 --exclude=n1 ray start --block" in workers
    assert ends == ["ended", "ended"]
    assert not (folder / "scontrol").exists()


def test_a_slurm_cluster_has_a_token_and_no_command_line_shows_it(folder):
    install(folder, {"python": 'case "$2" in *secrets*) echo hidden;; *) echo 12345;; esac'})
    job = slurm(folder, nodes=1)
    wait_for(folder / "started", job)
    (folder / "code").write_text("0")
    assert job.wait() == 0
    assert lines(folder / "environment") == [
        "RAY_ADDRESS=12345:12345",
        "RAY_AUTH_MODE=token",
        "RAY_AUTH_TOKEN=hidden",
    ]
    assert "hidden" not in (folder / "srun").read_text()


SLOW_TO_ASK = """kill() { builtin kill "$@" && /bin/sleep 0.2; }"""  # it has left by then


@pytest.mark.parametrize("kill", ["", SLOW_TO_ASK], ids=["at once", "slow"])
@pytest.mark.parametrize("sent", [signal.SIGUSR1, signal.SIGTERM])
def test_a_slurm_job_that_must_leave_keeps_what_it_has_and_is_queued_again(folder, sent, kill):
    (folder / "bash_env").write_text(kill)
    job = slurm(folder, nodes=2)
    wait_for(folder / "started", job)
    job.send_signal(sent)
    assert job.wait() == 143
    assert (folder / "kept").read_text() == "checkpoint\n"
    assert (folder / "scontrol").read_text() == "requeue 7\n"


@pytest.mark.parametrize("kill", ["", SLOW_TO_ASK], ids=["at once", "slow"])
def test_a_slurm_job_that_must_leave_while_its_nodes_join_trains_nothing(folder, kill):
    (folder / "bash_env").write_text(kill)
    wait = (
        'case "$2" in *is_initialized*) touch joining; exec /bin/sleep 1000;; *) echo 12345;; esac'
    )
    install(folder, {"python": wait})
    job = slurm(folder, nodes=2)
    wait_for(folder / "joining", job)
    job.send_signal(signal.SIGUSR1)
    assert job.wait() == 128 + signal.SIGTERM
    assert not (folder / "started").exists()
    assert (folder / "scontrol").read_text() == "requeue 7\n"


def test_a_pod_waits_for_its_driver_to_leave(folder):
    driver = subprocess.Popen([folder / "bin" / "keomni-rl", *WORDS], cwd=folder)
    wait_for(folder / "started", driver)
    find = f"[ ! -e kept ] && echo {driver.pid}"  # for no test may find somebody's real run
    install(folder, {"pgrep": find, "sleep": "/bin/sleep 0.05"})
    path = f"{folder}/bin:{os.environ['PATH']}"
    leave = ["bash", CLUSTER / "leave.sh"]
    subprocess.run(leave, cwd=folder, env={"PATH": path}, check=True)
    assert (folder / "kept").exists()
    assert driver.wait() == 143
    subprocess.run(leave, cwd=folder, env={"PATH": path}, check=True)  # no driver: at once
