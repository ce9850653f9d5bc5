"""A run over several machines: one joins, one is lost, one of the learner's is replaced."""

import pytest

from tests.faults.injector import Driver
from tests.faults.soak import troubles
from tests.machines import several_nodes

STEPS = 30


@pytest.fixture(scope="module")
def run(inputs, tmp_path_factory):
    """Thirty steps on machines of one kind of work each; the learner's ranks are on two."""
    folder = tmp_path_factory.mktemp("nodes")
    run_dir = folder / "run"
    with several_nodes(str(folder)) as nodes:
        learning, _ = nodes.add(2, work="learning"), nodes.add(1, work="learning")
        sampling, _ = nodes.add(1, work="sampling"), nodes.add(1, work="evaluating")
        command = inputs.command(
            run_dir,
            f"train.max_steps={STEPS}",
            "checkpoint.every_steps=5",
            f"placement.address={nodes.address}",
            "placement.strategy=spread",
            "placement.learner={nodes: {work: learning}, cpus: 1, actors: 2}",
            "placement.reference={nodes: {work: learning}, cpus: 1}",
            "placement.rollout={nodes: {work: sampling}, cpus: 1, max_actors: 2}",
            "placement.evaluator={nodes: {work: evaluating}, cpus: 1}",
        )
        driver = Driver(nodes.on_head(command), run_dir, folder / "log", nodes.env)
        driver.wait_for_step(3)
        nodes.add(1, work="sampling")
        driver.wait_until(lambda: driver.events("rollout actor joined"))
        nodes.lose(sampling)
        driver.wait_until(lambda: driver.events("rollout actor lost"))
        lost_at = len(driver.metrics())
        driver.wait_for_step(lost_at + 5)
        nodes.lose(learning)
        nodes.add(2, work="learning")
        assert driver.process.wait() == 0, driver.log.read_text()[-3000:]
    return inputs.finished(run_dir)


def events(run, name):
    return [event for event in run.events if event["event"] == name]


def test_it_learns_as_well_as_on_one_machine(run):
    assert troubles(run.path, STEPS) == []
    before, after = run.evaluation(0), run.evaluation(STEPS)
    assert after.accuracy >= before.accuracy + 0.15
    assert after.format >= 0.95
    assert after.missing == after.failed == 0


def test_one_that_joined_works_alone_when_the_first_is_lost(run):
    [joined], [lost] = events(run, "rollout actor joined"), events(run, "rollout actor lost")
    assert joined["version"] >= 3
    assert joined["time"] < lost["time"]
    assert events(run, "rollout actor replaced") == []  # there was no node to go to
    assert sum(m["time"] > lost["time"] for m in run.metrics) >= 5


def test_a_lost_rollout_node_costs_its_unfinished_completions_and_no_group(run):
    [end] = events(run, "end")
    assert end["dropped"].keys() <= {"rolled back", "learner lost"}


def test_the_learner_goes_on_from_its_checkpoint_on_another_node(run):
    [lost] = events(run, "learner lost")
    assert lost["back_to"] == lost["step"] // 5 * 5
    [replaced] = events(run, "learner replaced")
    assert replaced["step"] == lost["back_to"]
