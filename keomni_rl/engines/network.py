"""Where other processes reach this one."""

import socket


def own_address() -> str:
    """The address under which other nodes reach this one; loopback where there is no network."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(
                ("198.51.100.1", 9)
            )  # documentation range: nothing is sent by a UDP connect
        except OSError:
            return "127.0.0.1"
        address: str = probe.getsockname()[0]
        return address


def free_port() -> int:
    """A TCP port that is free now."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        port: int = probe.getsockname()[1]
        return port
