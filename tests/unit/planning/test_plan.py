"""The whole plan: advice, balance, what is said of rates taken elsewhere."""

import json

import pytest

from keomni_rl.config.schema import LearnerConfig
from keomni_rl.planning.advice import advise
from keomni_rl.planning.balance import Split, best_splits, split_of
from keomni_rl.planning.memory import run_memory
from keomni_rl.planning.plan import REPLICAS, make_plan
from keomni_rl.planning.rates import Machine, Rate
from keomni_rl.planning.shape import model_shape
from tests.unit.planning.conftest import run_config, write_omni


@pytest.fixture(scope="session")
def omni_7b(tmp_path_factory):
    return model_shape(write_omni(tmp_path_factory.mktemp("omni") / "7b", "7b"), LearnerConfig())


def advice(shape, gpu_gib=None, **sections):
    config = run_config(**sections)
    return advise(config, shape, run_memory(config, shape, gpu_gib), gpu_gib)


@pytest.mark.parametrize(
    ("sections", "told"),
    [
        ({"placement": {"rollout": {"gpus": 8}}}, "gpus: 8 does not divide the audio tower's 20"),
        ({"placement": {"rollout": {"gpus": 5}}}, "does not divide the language model's 28 heads"),
        ({"placement": {"rollout": {"gpus": 20}}}, "an engine lives within one node"),
        (
            {"engine": {"max_model_len": 600}, "data": {"train": ["t"], "max_audio_s": 30}},
            "leaves 0 tokens for a question's text beside a clip of 30 s (750 tokens)",
        ),
        (
            {
                "train": {"groups_per_step": 10},
                "placement": {"learner": {"actors": 4}},
            },
            "10 over 4 learner ranks",
        ),
        ({"placement": {"rollout": {"actors": 64}}}, "56 actors never have work"),
    ],
)
def test_what_stands_against_a_run_is_one_line(omni_7b, sections, told):
    lines = advice(omni_7b, **sections)
    assert sum(told in line for line in lines) == 1, lines


def test_a_run_that_fits_gets_no_advice(omni_7b):
    placement = {"rollout": {"actors": 2, "gpus": 4}, "learner": {"actors": 8}}
    assert advice(omni_7b, 80, placement=placement) == []


def test_actors_larger_than_their_gpu_are_named(omni_7b):
    lines = advice(omni_7b, 24)
    assert [line.partition(":")[0] for line in lines] == ["learner"]
    lines = advice(omni_7b, 12)
    assert [line.partition(":")[0] for line in lines] == ["learner", "rollout", "reference"]
    assert advice(omni_7b, None) == []


def test_gpus_go_to_the_role_that_takes_longest(omni_7b, rates):
    config = run_config(
        placement={"rollout": {"actors": 6}, "learner": {"actors": 1}, "reference": {"actors": 1}},
        train={"max_staleness": 1},
    )
    slow = rates.model_copy(update={"learner": Rate(fixed_s=0, per_s=500)})
    plan = make_plan(config, omni_7b, rates=slow)
    assert plan.timing.bottleneck == "learner"
    assert plan.timing.best.learner > 1
    assert plan.timing.best_step_s < plan.timing.configured_step_s
    total = sum((plan.timing.best.rollout, plan.timing.best.learner, plan.timing.best.reference))
    assert total <= 8


def test_splits_keep_to_the_gpus_there_are_and_to_whole_engines(rates):
    config = run_config(
        placement={"rollout": {"actors": 2, "gpus": 4}, "learner": {"actors": 4}},
        algo={"beta": 0},
    )
    assert split_of(config) == Split(2, 4, 0)
    found = best_splits(config, lambda split: _times(split), number=100)
    assert {(s.rollout, s.learner) for s in found} == {
        (2, 1),
        (2, 2),
        (2, 3),
        (2, 4),
        (1, 5),
        (1, 6),
        (1, 7),
        (1, 8),
    }
    assert all(s.reference == 0 for s in found)


def _times(split):
    from keomni_rl.planning.balance import RoleTimes

    return RoleTimes(1 / split.rollout, 1 / split.learner, 0, 0)


def test_the_simulation_goes_to_a_thousand_actors_and_more_are_never_slower(omni_7b, rates):
    config = run_config(train={"groups_per_step": 64})
    plan = make_plan(config, omni_7b, rates=rates)
    steps = [one.step_s for one in plan.timing.scaling]
    assert [one.replicas for one in plan.timing.scaling] == list(REPLICAS)
    assert REPLICAS[-1] == 1024
    assert steps == sorted(steps, reverse=True)
    json.dumps(plan.as_json())


def test_rates_of_something_else_are_told(omni_7b, tiny_model, rates):
    here = rates.machine
    config = run_config()
    assert make_plan(config, omni_7b, rates=rates, machine=here).timing.mismatches == ()
    other = Machine(cpu="other", cores=2)
    tiny = model_shape(tiny_model, LearnerConfig())
    config = run_config(
        model={"path": "m", "dtype": "float32"},
        placement={"learner": {"gpus": 0, "threads": 2}},
    )
    told = make_plan(config, tiny, rates=rates, machine=other).timing.mismatches
    for word in ("model", "bfloat16", "2 x other", "learner actor"):
        assert sum(word in line for line in told) == 1, (word, told)


def test_a_given_bandwidth_comes_before_the_measured_one(omni_7b, rates):
    config = run_config()
    assert make_plan(config, omni_7b).transfer_s is None
    assert make_plan(config, omni_7b, rates=rates).transfer_s == pytest.approx(
        0.1 + 2 * omni_7b.num_sent / 1e11
    )
    plan = make_plan(config, omni_7b, rates=rates, bandwidth=1e9)
    assert plan.transfer_bytes == 2 * omni_7b.num_sent
    assert plan.transfer_s == pytest.approx(2 * omni_7b.num_sent / 1e9)
    assert plan.timing.times.publish == plan.transfer_s


def test_supervised_training_has_memory_and_no_rollouts_to_time(omni_7b, rates):
    config = run_config(algo={"kind": "supervised", "beta": 0, "importance_cap": None})
    plan = make_plan(config, omni_7b, rates=rates)
    assert plan.timing is None
    assert [role.role for role in plan.memory] == ["learner"]
