"""The whole plan: advice, balance, what is said of rates taken elsewhere."""

import json

import pytest
import torch

from keomni_rl.config.schema import LearnerConfig
from keomni_rl.engines.weight_source import LearnerWeights, num_bytes
from keomni_rl.models.adapters import choose_trained, lora_scale, merged_weights
from keomni_rl.models.family import find_family
from keomni_rl.planning.plan import REPLICAS, make_plan
from keomni_rl.planning.rates import Machine, Rate
from keomni_rl.planning.shape import model_shape
from tests.unit.planning.conftest import run_config


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


@pytest.mark.parametrize("trained", ["all", "without_audio_tower", "lora"])
def test_a_transfer_is_planned_with_the_bytes_that_a_step_sends(any_model, trained):
    config = run_config(
        learner={"trained": trained},
        model={"path": "m", "dtype": "float32"},
        placement={"learner": {"gpus": 0, "threads": 2}},
    )
    family = find_family(any_model)
    network = family.load(any_model, torch.float32)
    choose_trained(network, family, config.learner, seed=0)
    weights = merged_weights(network, lora_scale(config.learner))
    sent = num_bytes(LearnerWeights(weights, family.wire_name).changing.metadata())
    assert make_plan(config, model_shape(any_model, config.learner)).transfer_bytes == sent


def test_supervised_training_has_memory_and_no_rollouts_to_time(omni_7b, rates):
    config = run_config(algo={"kind": "supervised", "beta": 0, "importance_cap": None})
    plan = make_plan(config, omni_7b, rates=rates)
    assert plan.timing is None
    assert [role.role for role in plan.memory] == ["learner"]
