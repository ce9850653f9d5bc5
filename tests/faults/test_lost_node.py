"""A cluster of several nodes that loses the one its rollout actor is on."""

import secrets

import ray
from ray.cluster_utils import Cluster

from tests.faults.injector import Driver


def test_a_lost_node_is_made_up_for_by_another(inputs, tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        lost = cluster.add_node(num_cpus=2)
        run_dir = tmp_path / "run"
        driver = Driver(
            inputs.command(
                run_dir,
                "train.max_steps=4",
                "train.groups_per_step=4",
                "evaluation=null",
                "algo.beta=0",
                "placement.rollout.cpus=2",  # more than the head has
                f"placement.address={cluster.address}",
            ),
            run_dir,
            tmp_path / "log",
        )
        driver.wait_for_step(1)
        cluster.remove_node(lost, allow_graceful=False)
        driver.wait_until(lambda: driver.events("rollout actor lost"))
        cluster.add_node(num_cpus=2)
        assert driver.process.wait() == 0, driver.log.read_text()[-3000:]
        run = inputs.finished(run_dir)
        assert [m["step"] for m in run.metrics] == [1, 2, 3, 4]
        assert all(m["kl/rollout_policy_max"] < 1e-4 for m in run.metrics)
        driver.wait_for_end()
    finally:
        ray.shutdown()
        cluster.shutdown()
