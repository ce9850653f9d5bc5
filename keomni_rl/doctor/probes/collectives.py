"""NCCL, or gloo without GPUs, in a world of one, on the interface that a run would take."""

import os
from collections.abc import Iterator
from datetime import timedelta

import psutil
import ray
import torch
import torch.distributed as dist

from keomni_rl.doctor.finding import Finding, failure, ok, warning
from keomni_rl.engines.network import keep_collectives_to, open_door

AREA = "network"
LOOPBACK = "127.0.0.1"
PATIENCE = timedelta(seconds=30)
VARIABLES = {"gloo": "GLOO_SOCKET_IFNAME", "nccl": "NCCL_SOCKET_IFNAME"}


def probe(*, in_cluster: bool) -> Iterator[Finding]:
    """Look.

    Args:
        in_cluster: whether a cluster is named; a run that starts Ray itself is on loopback.
    """
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    address = ray.util.get_node_ip_address() if in_cluster else LOOPBACK
    variable = VARIABLES[backend]
    is_set = variable in os.environ
    keep_collectives_to(address)
    interface = os.environ.get(variable, "")
    yield check_interface(address, interface, variable if is_set else None, in_cluster=in_cluster)
    if backend == "nccl" and not dist.is_nccl_available():
        yield failure(
            AREA, backend, "this torch has none", "run `bash scripts/setup.sh` in the checkout"
        )
        return
    yield world_of_one(backend, address)


def check_interface(
    address: str, interface: str, variable: str | None, *, in_cluster: bool
) -> Finding:
    """The interface that ranks meet on.

    Args:
        address: of this node.
        interface: the one that has it, or what the user has set.
        variable: with which the user has set it.
        in_cluster: whether other nodes are to be reached on it.
    """
    name = "interface"
    there = psutil.net_if_addrs()
    told = f"{interface or 'none'} for {address}"
    if variable:
        told = f"{variable}={interface}, this node is {address}"
        # NCCL takes prefixes, and ^ and = before them; gloo a list.
        wanted = interface.lstrip("^=").split(",")
        if not any(one.startswith(part) for part in wanted for one in there):
            return failure(
                AREA, name, f"{told}; there is no such interface", f"unset {variable} or correct it"
            )
    if not interface:
        return failure(
            AREA, name, f"{told}: no interface has this address", "give Ray --node-ip-address"
        )
    if in_cluster and address.startswith("127."):
        return warning(
            AREA,
            name,
            f"{told}: other nodes cannot reach it",
            "start Ray on this node with --node-ip-address; on a cluster of one machine it is well",
        )
    return ok(AREA, name, told)


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
