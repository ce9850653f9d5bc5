"""Doors that other processes come in by: on one address, never on all of a machine."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import psutil


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


@contextmanager
def held_port(address: str) -> Iterator[int]:
    """A port of one address for somebody else in this process to listen at, nobody's meanwhile.

    It is bound but not listened at, so that whoever sets SO_REUSEADDR (as PyTorch's and vLLM's
    stores do) can bind it too, while the kernel gives it to no one who asks for any free port.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind((address, 0))
        port: int = holder.getsockname()[1]
        yield port


def keep_collectives_to(address: str) -> None:
    """Have gloo and NCCL meet other nodes on the interface that has one of this node's addresses.

    Left alone gloo takes what the host's name resolves to, often loopback, where no other node can
    reach it. Variables that are set keep their values.
    """
    for name, addresses in psutil.net_if_addrs().items():
        if address in {one.address for one in addresses}:
            os.environ.setdefault("GLOO_SOCKET_IFNAME", name)
            os.environ.setdefault("NCCL_SOCKET_IFNAME", name)
