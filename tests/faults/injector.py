"""Ends or stops the processes of a run, as a cluster does that loses them."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil

from keomni_rl.observe.sinks import read_lines
from tests.dashboard import Page
from tests.processes import MARK, marked

ACTORS = ("Rollout", "Evaluator", "Learner", "Reference", "Reward", "Audio")
ENGINE = "VLLM::EngineCore"
RAY_AGENTS = ("ray::DashboardAgent", "ray::RuntimeEnvAgent")


class Driver:
    """A ``train`` process with all that belongs to it."""

    def __init__(
        self,
        command: list[str],
        run_dir: Path,
        log: Path,
        env: Mapping[str, str] = os.environ,
    ) -> None:
        self.run_dir = run_dir
        self._mark = f"{run_dir}-{time.time_ns()}"
        self.log = log
        with log.open("ab") as file:
            self.process = subprocess.Popen(
                command, stdout=file, stderr=file, env={**env, MARK: self._mark}
            )

    def wait_until(self, is_so: Callable[[], object]) -> None:
        """Wait for something that the run's files say."""
        while not is_so():
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            time.sleep(0.05)

    def wait_for_step(self, step: int) -> None:
        """Wait until a step's metrics are written."""
        self.wait_until(lambda: any(m["step"] == step for m in self.metrics()))

    def metrics(self) -> list[dict]:
        return read_lines(self.run_dir / "metrics.jsonl")

    def events(self, name: str) -> list[dict]:
        return [e for e in read_lines(self.run_dir / "events.jsonl") if e["event"] == name]

    def actors(self, role: str) -> list[int]:
        """Process ids of a role's living actors."""
        return [pid for pid, title in self.left().items() if title.startswith(f"ray::{role}Actor")]

    def engines(self, role: str) -> list[int]:
        """Process ids of the engines inside a role's actors."""
        return [
            child.pid
            for pid in self.actors(role)
            for child in psutil.Process(pid).children()
            if ENGINE in " ".join(child.cmdline())
        ]

    def served(self) -> Page:
        """What its node serves to Prometheus now; Ray keeps the port in its session's folder."""
        [session] = {
            found[1]
            for command in self.left().values()
            if (found := re.search(r"--raylet_socket_name=(\S+)/sockets/", command))
        }
        [port] = Path(session).glob("metrics_export_port_*")
        return Page.of(int(port.read_text()))

    def left(self) -> dict[int, str]:
        """All processes that this driver brought about and that live."""
        return marked(self._mark)

    def wait_for_end(self) -> None:
        """Wait until nothing of it is left, which must not take long.

        Ray's own agents, when their head was killed before it could end them, look for it for a
        minute before they give up (``gcs_rpc_server_reconnect_timeout_s``).
        """
        start = time.monotonic()
        while left := self.left():
            waited = time.monotonic() - start
            ours = [title for title in left.values() if not title.startswith(RAY_AGENTS)]
            assert waited < 60 or not ours, ours
            assert waited < 150, left
            time.sleep(0.1)

    def terminate(self) -> int:
        """Ask it to leave; returns its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait()


def num_unaccounted(account: dict) -> int:
    """Groups that a driver's account does not say the end of; negative if it says one twice."""
    known = account["trained"] + sum(account["dropped"].values()) + account["unfinished"]
    return account["started"] - known
