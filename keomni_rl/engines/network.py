"""Doors that other processes come in by: on one address, never on all of a machine."""

import socket


def open_door(address: str) -> socket.socket:
    """Listen on a free port of one address of this machine, which nobody can take meanwhile."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return socket.create_server((address, 0), family=family)


def free_port() -> int:
    """A TCP port that is free now."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        port: int = probe.getsockname()[1]
        return port
