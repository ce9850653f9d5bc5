"""A cluster of several nodes on this machine loses the one that does the work, and gets another."""

import pytest
from ray.cluster_utils import Cluster

from tests.faults.injector import Driver
from tests.faults.soak import troubles

STEPS = 6


@pytest.fixture
def cluster():
    """A head without cores, so that learner and rollout actor are on the node that is lost."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    yield cluster
    cluster.shutdown()


def test_a_run_goes_on_when_a_node_was_lost_and_another_comes(cluster, inputs, tmp_path):
    run_dir = tmp_path / "run"
    node = cluster.add_node(num_cpus=2)
    command = inputs.command(
        run_dir,
        f"train.max_steps={STEPS}",
        "train.groups_per_step=4",
        "checkpoint.every_steps=2",
        f"placement.address={cluster.address}",
        "placement.rollout.cpus=1",
        "placement.learner.cpus=1",
    )
    driver = Driver(command, run_dir, tmp_path / "log")
    driver.wait_for_step(3)
    cluster.remove_node(node, allow_graceful=False)
    driver.wait_until(lambda: driver.events("rollout actor lost"))
    cluster.add_node(num_cpus=2)
    assert driver.process.wait() == 0, driver.log.read_text()[-3000:]
    assert troubles(run_dir, STEPS) == []
    [lost] = driver.events("learner lost")
    assert lost["back_to"] == 2
