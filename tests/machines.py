"""Machines of a Ray cluster inside this one, each with an address, memory and processes of its own.

A machine is a set of Linux namespaces: network (an address on a bridge), processes (none sees those
of another, and all end with the first), and its own `/dev/shm` and folder of Ray's. What goes from
one to another goes over the network; the rest of the disk is shared, as on a cluster.
"""

import os
import secrets
import subprocess
import sysconfig
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from ray.cluster_utils import Cluster

from tests.processes import MARK

RAY = f"{sysconfig.get_path('scripts')}/ray"
NETWORK = "10.213.7"
PREFIX = "keomni"
BRIDGE = f"{PREFIX}0"
PORT = 6379
STARTED_WITHIN_S = 120.0
NOTICED_SOON = {
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "5000",
    "RAY_health_check_failure_threshold": "3",
}
"""A machine that is switched off says nothing, and Ray takes a minute to be sure of it by default."""


class Machine:
    """One node, from its start until it is switched off."""

    def __init__(self, number: int, ray_words: Sequence[str], env: dict[str, str]) -> None:
        self.name = f"{PREFIX}-{number}"
        self.address = f"{NETWORK}.{number}"
        self._wire = f"{BRIDGE}-{number}"
        _ip(f"netns add {self.name}")
        _ip(f"link add {self._wire} type veth peer name eth0 netns {self.name}")
        _ip(f"link set {self._wire} master {BRIDGE} up")
        _ip(f"-n {self.name} link set lo up")
        _ip(f"-n {self.name} address add {self.address}/24 dev eth0")
        _ip(f"-n {self.name} link set eth0 up")
        _ip(f"-n {self.name} route add default via {NETWORK}.254")
        own = "mount -t tmpfs none /dev/shm && mount -t tmpfs none /tmp/ray && exec "
        start = [RAY, "start", "--block", f"--node-ip-address={self.address}", *ray_words]
        self._process = subprocess.Popen(
            [
                *("ip", "netns", "exec", self.name),
                *("unshare", "--pid", "--fork", "--kill-child", "--mount", "--mount-proc"),
                *("sh", "-c", own + '"$@"', "sh", *start),
            ],
            stdout=subprocess.DEVNULL,
            env=env,
        )

    def inside(self, command: Sequence[str]) -> list[str]:
        """A command as it is run on this machine."""
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        deadline = time.monotonic() + STARTED_WITHIN_S
        while not (first := children.read_text().split()):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        namespaces = ("--net", "--pid", "--mount", f"--wd={os.getcwd()}")
        return ["nsenter", f"--target={first[0]}", *namespaces, "--", *command]

    def switch_off(self) -> None:
        """End it with everything on it at once, as a power failure does."""
        self._process.kill()
        self._process.wait()
        _ip(f"link delete {self._wire}")
        _ip(f"netns delete {self.name}")


class Machines:
    """A head without room for work, and machines that join it.

    Args:
        mark: of all their processes, see `tests.processes`.
    """

    def __init__(self, mark: str) -> None:
        os.makedirs("/tmp/ray", exist_ok=True)
        kept = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
        token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        self.env = kept | token | NOTICED_SOON | {MARK: mark}
        self._on: list[Machine] = []
        self._num_added = 0
        _clear_away()
        _ip(f"link add {BRIDGE} type bridge")
        _ip(f"address add {NETWORK}.254/24 dev {BRIDGE}")
        _ip(f"link set {BRIDGE} up")
        self._head = self._add(
            "--head", f"--port={PORT}", "--include-dashboard=false", "--num-cpus=0"
        )
        self.address = f"{self._head.address}:{PORT}"

    def add(self, cpus: int, **labels: str) -> Machine:
        """Have another machine join, with some cores and labels."""
        named = ",".join(f"{key}={value}" for key, value in labels.items())
        return self._add(f"--address={self.address}", f"--num-cpus={cpus}", f"--labels={named}")

    def on_head(self, command: list[str]) -> list[str]:
        """A command as it is run on the head."""
        return self._head.inside(command)

    def _add(self, *ray_words: str) -> Machine:
        memory = f"--object-store-memory={256 * 2**20}"
        words = (*ray_words, memory, "--disable-usage-stats")
        self._num_added += 1
        machine = Machine(self._num_added, words, self.env)
        self._on.append(machine)
        return machine

    def lose(self, machine: Machine) -> None:
        """Switch a machine off."""
        machine.switch_off()
        self._on.remove(machine)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for machine in reversed(self._on):
            machine.switch_off()
        _ip(f"link delete {BRIDGE}")


def _ip(words: str) -> None:
    subprocess.run(["ip", *words.split()], check=True)


def _clear_away() -> None:
    """Remove what tests left that were killed."""
    for kind in ("link", "netns"):
        listed = subprocess.run(["ip", "-brief", kind, "list"], capture_output=True, text=True)
        names = [line.split()[0].partition("@")[0] for line in listed.stdout.splitlines()]
        for name in names:
            if name.startswith(PREFIX):
                _ip(f"{kind} delete {name}")


class Nodes:
    """The same without the right to make namespaces: nodes that share address and processes."""

    def __init__(self, mark: str) -> None:
        self._cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
        self.address = self._cluster.address
        self.env = dict(os.environ)

    def add(self, cpus: int, **labels: str) -> Any:
        """Have another node join, with some cores and labels."""
        return self._cluster.add_node(num_cpus=cpus, labels=labels)

    def lose(self, node: Any) -> None:
        """End a node at once."""
        self._cluster.remove_node(node, allow_graceful=False)

    def on_head(self, command: list[str]) -> list[str]:
        """A command as it is run on the head."""
        return command

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._cluster.shutdown()


def several_nodes(mark: str) -> "Machines | Nodes":
    """Machines where this user may make them, otherwise nodes."""
    name = f"{PREFIX}-trial"
    inside = f"ip netns exec {name} unshare --pid --fork --mount --mount-proc"
    trial = (
        f"ip netns add {name} && ip link add {name} type veth peer name eth0 netns {name} && "
        f"ip link delete {name} && {inside} mount -t tmpfs none /dev/shm"
    )
    done = subprocess.run(trial, shell=True, capture_output=True, check=False)
    subprocess.run(f"ip netns delete {name}", shell=True, capture_output=True, check=False)
    return Nodes(mark) if done.returncode else Machines(mark)
