"""This machine by its own addresses: ports that can be taken and reached, a name that resolves."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack

from keomni_rl.doctor.finding import Finding, failure, ok, warning
from keomni_rl.engines.network import open_door

AREA = "network"
LOOPBACK = "127.0.0.1"
NUM_PORTS = 64
"""About as many as Ray's processes and a run's actors listen at."""
PATIENCE_S = 5.0


def probe() -> Iterator[Finding]:
    """Look."""
    yield check_ports(LOOPBACK)
    yield check_name(socket.gethostname())


def check_ports(address: str) -> Finding:
    """Listen at many ports of an address and connect to each."""
    try:
        with ExitStack() as doors:
            for _ in range(NUM_PORTS):
                door = doors.enter_context(open_door(address))
                doors.enter_context(socket.create_connection(door.getsockname(), PATIENCE_S))
    except OSError as error:
        return failure(
            AREA,
            "ports",
            f"{address}: cannot be listened at or reached ({error.strerror or error})",
            "let processes of this machine talk over loopback: look at the sandbox's or "
            "firewall's rules, and at net.ipv4.ip_local_port_range",
        )
    return ok(AREA, "ports", f"{NUM_PORTS} of {address} taken and reached")


def check_name(name: str) -> Finding:
    """Whether this host's name resolves, which libraries of all kinds count on."""
    try:
        address = socket.gethostbyname(name)
    except OSError as error:
        return warning(
            AREA,
            "host name",
            f"{name!r:.80} does not resolve ({error.strerror})",
            "add it to /etc/hosts, or processes wait for a name server whenever they ask",
        )
    return ok(AREA, "host name", f"{name} is {address}")
