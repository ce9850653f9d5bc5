"""Meeting points, with the store that vLLM's NCCL rendezvous opens at them."""

import errno
import os
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest
from vllm.distributed.utils import StatelessProcessGroup

from keomni_rl.engines.network import held_port

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
