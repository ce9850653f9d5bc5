"""Meeting points, with the store that vLLM's NCCL rendezvous opens at them."""

import errno
import os
import socket
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest
from vllm.distributed.utils import StatelessProcessGroup

from keomni_rl.engines.network import held_port, keep_collectives_to

ADDRESS = "127.0.0.1"


def meet(rank, port):
    group = StatelessProcessGroup.create(ADDRESS, port, rank=rank, world_size=2, store_timeout=60)
    return group.all_gather_obj(rank)


def test_a_rendezvous_opens_at_a_held_port():
    with held_port(ADDRESS) as port, ThreadPoolExecutor(2) as ranks:
        assert list(ranks.map(meet, [0, 1], [port, port])) == [[0, 1], [0, 1]]


def test_nobody_else_gets_a_held_port():
    taken = os.strerror(errno.EADDRINUSE)
    with held_port(ADDRESS) as port, socket.socket() as other, pytest.raises(OSError, match=taken):
        other.bind((ADDRESS, port))
    with socket.socket() as other:
        other.bind((ADDRESS, port))


def test_collectives_keep_to_the_interface_of_an_address(monkeypatch):
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "restored afterwards")
    monkeypatch.delenv("GLOO_SOCKET_IFNAME")
    monkeypatch.setenv("NCCL_SOCKET_IFNAME", "mine")
    keep_collectives_to("203.0.113.7")  # of no machine
    assert "GLOO_SOCKET_IFNAME" not in os.environ
    keep_collectives_to(ADDRESS)
    assert ADDRESS in {a.address for a in psutil.net_if_addrs()[os.environ["GLOO_SOCKET_IFNAME"]]}
    assert os.environ["NCCL_SOCKET_IFNAME"] == "mine"
