"""Room for actors on real nodes: whole or not at all, where labels say, and what is told of it."""

import asyncio
import json

import pytest
import ray
from ray.cluster_utils import Cluster as Nodes

from keomni_rl.actors.placement import Room, check_placement
from keomni_rl.actors.remote import join_ray
from keomni_rl.config.placement import PlacementConfig
from keomni_rl.errors import ConfigError

ALL = ["learner", "rollout", "reference"]


class Somewhere:
    """Says where it is."""

    def node(self) -> str:
        return ray.get_runtime_context().get_node_id()

    def gpus(self) -> list[str]:
        return ray.get_runtime_context().get_accelerator_ids()["GPU"]


@pytest.fixture(scope="module")
def nodes():
    """A head without anything, a node of the learner with two GPUs, and one of rollouts."""
    nodes = Nodes(initialize_head=True, head_node_args={"num_cpus": 0})
    nodes.add_node(num_cpus=2, num_gpus=2, labels={"work": "learning"})
    nodes.add_node(num_cpus=2, labels={"work": "sampling"})
    join_ray(nodes.address)
    yield nodes
    ray.shutdown()
    nodes.shutdown()


def placement(**sections) -> PlacementConfig:
    on_cpu = {"gpus": 0, "cpus": 1}
    roles = {name: on_cpu | sections.pop(name, {}) for name in ALL}
    return PlacementConfig.model_validate(roles | sections)


def started(room: Room, role: str, numbers) -> list:
    start = room.starter(role, Somewhere)
    return [start(number) for number in numbers]


def node_of(work: str) -> str:
    return next(n["NodeID"] for n in ray.nodes() if n["Labels"].get("work") == work)


def give_back(room: Room, actors: list) -> None:
    for actor in actors:
        ray.kill(actor)
    room.release()


def test_actors_go_where_labels_say_and_come_back_there(nodes, tmp_path):
    place = placement(
        learner={"actors": 2, "nodes": {"work": "learning"}},
        rollout={"cpus": 2, "nodes": {"work": "sampling"}},
    )
    room = Room(place, ["learner", "rollout"])
    asyncio.run(room.reserve(tmp_path))
    learners, rollouts = started(room, "learner", (0, 1)), started(room, "rollout", (0,))
    assert {ray.get(a.node.remote()) for a in learners} == {node_of("learning")}
    assert ray.get(rollouts[0].node.remote()) == node_of("sampling")
    ray.kill(rollouts[0])
    rollouts = started(room, "rollout", (0,))
    assert ray.get(rollouts[0].node.remote()) == node_of("sampling")
    give_back(room, learners + rollouts)
    assert not (tmp_path / "events.jsonl").exists()


def test_a_pair_shares_a_gpu(nodes, tmp_path):
    on_gpu = {"actors": 2, "gpus": 1, "cpus": 0.5}
    room = Room(placement(learner=on_gpu, rollout=on_gpu, colocated=True), ["learner", "rollout"])
    assert len(room.bundles) == 2
    asyncio.run(room.reserve(tmp_path))
    learners, rollouts = started(room, "learner", (0, 1)), started(room, "rollout", (0, 1))
    pairs = [
        [ray.get(actor.gpus.remote()) for actor in pair]
        for pair in zip(learners, rollouts, strict=True)
    ]
    assert [len(gpus) for pair in pairs for gpus in pair] == [1] * 4
    assert pairs[0][0] == pairs[0][1] != pairs[1][0] == pairs[1][1]
    give_back(room, learners + rollouts)


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"rollout": {"gpus": 4}}, "rollout 0 asks for 4 GPU and 1 CPU on one node"),
        ({"learner": {"nodes": {"work": "x"}}}, "learner 0 asks for .* with the labels"),
        ({"learner": {"actors": 5}}, "asks for 7 CPUs in all .*, the cluster has 4"),
    ],
)
def test_what_the_cluster_can_never_hold_is_named_at_once(nodes, sections, words):
    with pytest.raises(ConfigError, match=words):
        check_placement(placement(**sections), ALL)


def test_bundles_that_do_not_fit_together_are_named_with_the_nodes(nodes, tmp_path):
    """Four CPUs for four, but no two of 1.5 on a node of 2."""
    room = Room(placement(learner={"actors": 2, "cpus": 1.5}, rollout={"cpus": 1}), ALL[:2])
    with pytest.raises(ConfigError, match=r"no way to place learner 2 x .* work=sampling"):
        asyncio.run(room.reserve(tmp_path))


def test_a_run_waits_for_what_another_holds_and_says_so(nodes, tmp_path):
    first = Room(placement(rollout={"cpus": 2, "actors": 2}), ["rollout"])
    asyncio.run(first.reserve(tmp_path))
    second = Room(placement(), ["learner"])

    async def wait_for_room():
        waiting = asyncio.create_task(second.reserve(tmp_path))
        while not (tmp_path / "events.jsonl").exists():
            await asyncio.sleep(0.05)
        assert not waiting.done()
        first.release()
        await waiting

    asyncio.run(wait_for_room())
    event = json.loads((tmp_path / "events.jsonl").read_text())
    assert event["event"] == "waiting for room"
    assert event["cause"].startswith("no room yet for learner 1 x 0 GPU and 1 CPU; free in all: ")
    second.release()


def test_one_that_joins_later_waits_for_its_node_alone(nodes, tmp_path):
    place = placement(rollout={"cpus": 2, "actors": 1, "max_actors": 2, "nodes": {"work": "later"}})
    first = nodes.add_node(num_cpus=2, labels={"work": "later"})
    room = Room(place, ["rollout"])
    asyncio.run(room.reserve(tmp_path))
    there, joining = started(room, "rollout", (0, 1))
    node = ray.get(there.node.remote())
    call = joining.node.remote()
    assert ray.wait([call], timeout=1)[0] == []
    second = nodes.add_node(num_cpus=2, labels={"work": "later"})
    assert ray.get(call) != node
    give_back(room, [there, joining])
    for each in (first, second):
        nodes.remove_node(each)
