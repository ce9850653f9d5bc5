"""The network interface on which learner ranks and engines would meet."""

import os

import psutil

from keomni_rl.doctor.finding import Finding, failure, ok, warning
from keomni_rl.engines.network import keep_collectives_to

AREA = "network"
NAME = "interface"
VARIABLES = ("NCCL_SOCKET_IFNAME", "GLOO_SOCKET_IFNAME")


def check_interface(address: str, *, in_cluster: bool) -> Finding:
    """Choose it as actors do, which sets the variables of gloo and NCCL.

    Args:
        address: of this node in Ray.
        in_cluster: whether other nodes are to be reached on it.
    """
    given = {name: os.environ[name] for name in VARIABLES if name in os.environ}
    there = psutil.net_if_addrs()
    for variable, interface in given.items():
        # NCCL takes prefixes, and ^ or = before them; gloo a list.
        parts = interface.lstrip("^=").split(",")
        if not any(one.startswith(part) for part in parts for one in there):
            return failure(
                AREA,
                NAME,
                f"{variable}={interface}, and there is no such interface",
                f"unset {variable}, or name one of {', '.join(there)}",
            )
    keep_collectives_to(address)
    chosen = os.environ.get(VARIABLES[0])
    if not chosen:
        return failure(
            AREA,
            NAME,
            f"none has this node's address {address}",
            "start Ray here with the --node-ip-address of an interface",
        )
    told = f"{chosen} for {address}"
    if given:
        told += f" ({', '.join(given)} set)"
    if in_cluster and address.startswith("127."):
        return warning(
            AREA,
            NAME,
            f"{told}: other nodes cannot reach it",
            "start Ray here with --node-ip-address, unless the cluster is this machine alone",
        )
    return ok(AREA, NAME, told)
