"""NCCL, or gloo without GPUs, in a world of one, on the interface that a run would take."""

from collections.abc import Iterator
from datetime import timedelta

import ray
import torch
import torch.distributed as dist

from keomni_rl.doctor.finding import Finding, Status, failure, ok
from keomni_rl.doctor.probes.interface import check_interface
from keomni_rl.engines.network import open_door

AREA = "network"
LOOPBACK = "127.0.0.1"
PATIENCE = timedelta(seconds=30)


def probe(*, in_cluster: bool) -> Iterator[Finding]:
    """Look.

    Args:
        in_cluster: whether a cluster is named; a run that starts Ray itself is on loopback.
    """
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    address = ray.util.get_node_ip_address() if in_cluster else LOOPBACK
    interface = check_interface(address, in_cluster=in_cluster)
    # A cluster that can be joined knows this node's address better.
    if not in_cluster or interface.status is Status.FAILURE:
        yield interface
    if backend == "nccl" and not dist.is_nccl_available():
        yield failure(
            AREA, backend, "this torch has none", "run `bash scripts/setup.sh` in the checkout"
        )
        return
    yield world_of_one(backend, address)


def world_of_one(backend: str, address: str) -> Finding:
    """Start it and add up something."""
    door = open_door(address)
    store = dist.TCPStore(  # type: ignore[attr-defined]
        address, door.getsockname()[1], 1, True, PATIENCE, master_listen_fd=door.detach()
    )
    dist.init_process_group(backend, store=store, rank=0, world_size=1, timeout=PATIENCE)
    ones = torch.ones(1000, device="cuda" if backend == "nccl" else "cpu")
    dist.all_reduce(ones)
    total = float(ones.sum())
    version = ".".join(map(str, torch.cuda.nccl.version())) if backend == "nccl" else ""
    dist.destroy_process_group()
    if total == len(ones):
        return ok(AREA, backend, f"{version} starts and computes".strip())
    return failure(AREA, backend, "an all-reduce came out wrong", "set NCCL_DEBUG=INFO and look")
