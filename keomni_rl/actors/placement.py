"""Finds room for actors in a cluster: a run is placed whole or not at all.

One placement group asks for room for all, which waits its turn as a whole, so that jobs that
together want more than there is do not hold half of it each. What it finds is then taken over by
a group for each bundle. A bundle is what one actor takes of one node, so an engine with its
tensor-parallel GPUs never spans two; colocated roles share one. An actor that is started again
gets a fresh group: Ray looks for room for a broken one without a pause, on a core of the head's.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeGuard, cast

import ray
from ray.util.placement_group import (
    PlacementGroup,
    placement_group,
    placement_group_table,
    remove_placement_group,
)
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from keomni_rl.actors.remote import Place, start_actor
from keomni_rl.config.placement import Cluster, PlacementConfig
from keomni_rl.errors import ConfigError
from keomni_rl.observe.sinks import write_event

log = logging.getLogger(__name__)
KINDS = ("GPU", "CPU")
NODE = "ray.io/node-id"
"""Label that Ray gives each node."""
TAKE_OVER_S = 30.0
"""For a bundle to be taken over from the group that found its place."""
LOOK_EVERY_S = 2.0
TELL_EVERY_S = 30.0
"""How often a run that waits for room says so."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """What one actor, or a colocated pair, takes of one node."""

    name: str
    """Role and number, as ``learner 3``."""
    resources: dict[str, float]
    """In Ray's words: CPU, GPU."""
    nodes: dict[str, str]
    """Labels of nodes that it may go to."""


class Room:
    """The room that the actors of some roles have in the cluster.

    Args:
        placement: the section of the configuration.
        roles: names of its parts that are used.
    """

    def __init__(self, placement: Cluster, roles: Sequence[str]) -> None:
        self._placement = placement
        self.bundles = _bundles(placement, roles)
        self._groups: dict[str, PlacementGroup] = {}
        self._used: set[tuple[str, int]] = set()

    async def reserve(self, run_dir: Path) -> None:
        """Wait until every actor has its place.

        Args:
            run_dir: of the run, whose events say so when that takes long.

        Raises:
            ConfigError: no nodes of this cluster could ever hold all.
        """
        while self.bundles and not self._groups:
            nodes = await self._find_nodes(run_dir)
            pinned = [replace(bundle, nodes={NODE: node}) for bundle, node in nodes]
            groups = {bundle.name: self._reserved([bundle]) for bundle in pinned}
            is_there = [await asyncio.to_thread(g.wait, TAKE_OVER_S) for g in groups.values()]
            if all(is_there):
                self._groups = groups
            else:  # somebody was quicker
                _remove(groups.values())

    async def _find_nodes(self, run_dir: Path) -> list[tuple[Bundle, str]]:
        """Where there is room for each bundle, when there is for all."""
        group = self._reserved(self.bundles)
        clock = asyncio.get_running_loop().time
        started, told, num_hopeless = clock(), -TELL_EVERY_S, 0
        try:
            while not await asyncio.to_thread(group.wait, LOOK_EVERY_S):
                num_hopeless = num_hopeless + 1 if _is_hopeless(group) else 0
                if num_hopeless > 1 and clock() - started > self._placement.wait_s:
                    raise ConfigError(
                        f"placement: no way to place {_listed(self.bundles)} together; the cluster "
                        f"has {_nodes_listed()}; lower actors, gpus or cpus, mend nodes, or add "
                        "nodes"
                    )
                if clock() - told > TELL_EVERY_S:
                    told = clock()
                    free = _resources(ray.available_resources())
                    line = f"no room yet for {_listed(self.bundles)}; free in all: {free}"
                    log.warning("%s", line)
                    write_event(run_dir, "waiting for room", cause=line)
            nodes = placement_group_table(group)["bundles_to_node_id"]
            return [(bundle, nodes[number]) for number, bundle in enumerate(self.bundles)]
        finally:
            remove_placement_group(group)

    def _reserved(self, bundles: Sequence[Bundle]) -> PlacementGroup:
        return placement_group(
            [bundle.resources for bundle in bundles],
            strategy=self._placement.strategy.upper(),
            bundle_label_selector=[bundle.nodes for bundle in bundles],
        )

    def release(self) -> None:
        """Give all room back; actors in it end."""
        _remove(self._groups.values())
        self._groups = {}

    def starter(
        self, role: str, actor_class: type, *args: Any, **kwargs: Any
    ) -> Callable[[int], Any]:
        """What starts an actor of a role in one of its places, by number, and again if it is lost.

        It returns the actor's handle at once.
        """
        place = cast(Place, getattr(self._placement, role))
        gpus = place.gpus / 2 if _is_paired(self._placement, role) else place.gpus

        def start(number: int) -> Any:
            options = self._seat(role, number) | {"num_gpus": gpus}
            return start_actor(actor_class, place, *args, ray_options=options, **kwargs)

        return start

    def _seat(self, role: str, number: int) -> dict[str, Any]:
        bundle = _bundle(self._placement, role, number)
        if not bundle.resources:
            return {"label_selector": bundle.nodes or None}
        group = self._groups.get(bundle.name)
        if group and self._is_given_up(group, role, number):
            remove_placement_group(group)
            group = None
        if group is None:
            group = self._groups[bundle.name] = self._reserved([bundle])
        self._used.add((role, number))
        return {"scheduling_strategy": PlacementGroupSchedulingStrategy(group, 0)}

    def _is_given_up(self, group: PlacementGroup, role: str, number: int) -> bool:
        """Whether an actor was lost in it; one that a pair shares may be whole all the same."""
        if (role, number) not in self._used:
            return False
        is_whole = placement_group_table(group)["state"] == "CREATED"
        return not (is_whole and _is_paired(self._placement, role))


def _remove(groups: Iterable[PlacementGroup]) -> None:
    for group in groups:
        remove_placement_group(group)


def _is_hopeless(group: PlacementGroup) -> bool:
    """Whether nothing that could end by itself is in the way of a group."""
    state = placement_group_table(group)["stats"]["scheduling_state"]
    there, free = ray.cluster_resources(), ray.available_resources()
    return state == "INFEASIBLE" or all(free.get(k, 0) == there.get(k, 0) for k in KINDS)


def _bundles(placement: Cluster, roles: Sequence[str]) -> list[Bundle]:
    found = {}
    for role in roles:
        for number in range(getattr(placement, role).actors):
            bundle = _bundle(placement, role, number)
            if bundle.resources:
                found[bundle.name] = bundle
    return list(found.values())


def _bundle(placement: Cluster, role: str, number: int) -> Bundle:
    """The bundle that an actor lies in; a colocated pair has one."""
    places = [cast(Place, getattr(placement, role))]
    if _is_paired(placement, role):
        role, places = "learner", [placement.learner, placement.rollout]
    asked = {"CPU": sum(place.cpus for place in places), "GPU": float(places[0].gpus)}
    resources = {kind: number for kind, number in asked.items() if number}
    return Bundle(f"{role} {number}", resources, places[0].nodes)


def _is_paired(placement: Cluster, role: str) -> TypeGuard[PlacementConfig]:
    is_colocated = isinstance(placement, PlacementConfig) and placement.colocated
    return is_colocated and role in ("learner", "rollout")


def check_placement(placement: Cluster, roles: Sequence[str]) -> None:
    """Compare what the roles ask for with what the cluster has, free or not.

    Raises:
        ConfigError: an actor that fits no node, or more in all than there is; unless nodes are
            waited for.
    """
    if placement.wait_s:
        return
    bundles = _bundles(placement, roles)
    nodes = [node for node in ray.nodes() if node["Alive"]]
    for bundle in bundles:
        fitting = [node for node in nodes if bundle.nodes.items() <= node["Labels"].items()]
        if not any(_holds(node["Resources"], bundle.resources) for node in fitting):
            labels = f" with the labels {bundle.nodes}" if bundle.nodes else ""
            raise ConfigError(
                f"placement: {bundle.name} asks for {_resources(bundle.resources)} on one "
                f"node{labels}, and the cluster has {_nodes_listed()}; lower placement."
                f"{bundle.name.split()[0]}, or add such a node"
            )
    for kind in KINDS:
        asked = sum(bundle.resources.get(kind, 0.0) for bundle in bundles)
        there = sum(node["Resources"].get(kind, 0.0) for node in nodes)
        if asked > there:
            raise ConfigError(
                f"placement asks for {asked:g} {kind}s in all ({', '.join(roles)}), the cluster "
                f"has {there:g}; lower placement.*.actors or placement.*.{kind.lower()}s, or add "
                "nodes"
            )


def _holds(there: dict[str, float], asked: dict[str, float]) -> bool:
    return all(there.get(kind, 0.0) >= number for kind, number in asked.items())


def _listed(bundles: Sequence[Bundle]) -> str:
    """Bundles by role, as ``learner 4 x 1 GPU and 1 CPU``."""
    alike: dict[tuple[str, str], int] = {}
    for bundle in bundles:
        key = (bundle.name.split()[0], _resources(bundle.resources))
        alike[key] = alike.get(key, 0) + 1
    return ", ".join(f"{role} {n} x {what}" for (role, what), n in alike.items())


def _nodes_listed(shown: int = 8) -> str:
    nodes = [node for node in ray.nodes() if node["Alive"]]
    lines = [
        _resources(node["Resources"])
        + "".join(f", {k}={v}" for k, v in node["Labels"].items() if not k.startswith("ray.io/"))
        for node in nodes
    ]
    more = f" and {len(nodes) - shown} more" if len(nodes) > shown else ""
    return f"{len(nodes)} nodes ({'; '.join(lines[:shown])}{more})"


def _resources(resources: dict[str, float]) -> str:
    return " and ".join(f"{resources.get(kind, 0.0):g} {kind}" for kind in KINDS)
