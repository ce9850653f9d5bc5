"""The simulated loop: what must hold whatever the rates are."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keomni_rl.planning.rates import Rate
from keomni_rl.planning.simulation import simulate
from keomni_rl.planning.workload import Workload
from tests.unit.planning.conftest import run_config

FREE = Rate(fixed_s=0, per_s=1e30)


def run(rates, *, replicas=1, groups=4, size=2, staleness=0, tokens=16, beta=0.0, seed=0):
    config = run_config(
        train={"groups_per_step": groups, "max_staleness": staleness},
        rollout={"group_size": size, "max_new_tokens": tokens},
        algo={"beta": beta},
    )
    workload = Workload(
        audio_s=10,
        prompt_tokens=400,
        completion_tokens=tokens,
        group_size=size,
        groups_per_step=groups,
    )
    return config, simulate(
        config, rates, workload, num_bytes=1e9, replicas=replicas, num_steps=6, seed=seed
    )


def only(rates, **costs):
    """Rates at which everything is free but some."""
    names = ("prefill", "decode", "reference", "learner", "transfer", "audio", "reward")
    return rates.model_copy(update=dict.fromkeys(names, FREE) | costs)


def test_a_synchronous_step_is_the_sum_of_its_parts(rates):
    costs = {
        "prefill": Rate(fixed_s=0.5, per_s=1e30),
        "decode": Rate(fixed_s=0.25, per_s=1e30),
        "learner": Rate(fixed_s=3, per_s=1e30),
        "transfer": Rate(fixed_s=1, per_s=1e30),
    }
    _, found = run(only(rates, **costs))
    assert found.step_s == pytest.approx(4 * 0.5 + 16 * 0.25 + 3 + 1)
    assert found.learner_idle == pytest.approx(6 / 10)
    assert found.rollout_idle == pytest.approx(4 / 10)


def test_with_staleness_the_longer_role_sets_the_pace(rates):
    costs = {
        "decode": Rate(fixed_s=0.25, per_s=1e30),
        "learner": Rate(fixed_s=5, per_s=1e30),
    }
    _, one_after_the_other = run(only(rates, **costs))
    _, at_once = run(only(rates, **costs), staleness=1)
    assert one_after_the_other.step_s == pytest.approx(4 + 5, rel=0.05)
    assert at_once.step_s == pytest.approx(5, rel=0.05)
    assert at_once.learner_idle == pytest.approx(0, abs=1e-9)


def test_the_reference_works_while_others_are_sampled(rates):
    costs = {
        "prefill": Rate(fixed_s=1, per_s=1e30),
        "reference": Rate(fixed_s=1, per_s=1e30),
    }
    _, found = run(only(rates, **costs), beta=0.1, tokens=1)
    # Prompts go in before anything is decoded: the rows come all at once, and are scored in turn.
    assert found.step_s == pytest.approx(4 + 4)


def test_actors_without_a_gpu_share_the_cores(rates):
    costs = {"decode": Rate(fixed_s=0.25, per_s=1e30)}
    on_cpu = {"rollout": {"gpus": 0, "threads": 1}, "learner": {"gpus": 0}}
    config = run_config(
        train={"groups_per_step": 4}, algo={"beta": 0}, placement=on_cpu, rollout={"group_size": 2}
    )
    workload = Workload(
        audio_s=1, prompt_tokens=50, completion_tokens=16, group_size=2, groups_per_step=4
    )
    two_cores = only(rates, **costs).model_copy(
        update={"machine": rates.machine.model_copy(update={"cores": 2})}
    )

    def step_s(replicas):
        return simulate(config, two_cores, workload, num_bytes=0, replicas=replicas).step_s

    assert [step_s(1), step_s(2)] == pytest.approx([4, 4], rel=0.1)
    assert step_s(4) == pytest.approx(8, rel=0.1)


@settings(max_examples=40)
@given(
    replicas=st.integers(1, 40),
    groups=st.integers(1, 12),
    staleness=st.integers(0, 3),
    size=st.integers(2, 5),
    spread=st.sampled_from([0.0, 0.4]),
    token_s=st.sampled_from([0.01, 0.1, 0.5]),
    seed=st.integers(0, 9),
)
def test_every_group_ends_trained_or_alive_and_slots_are_kept(
    rates, replicas, groups, staleness, size, spread, token_s, seed
):
    rates = rates.model_copy(update={"decode": Rate(fixed_s=token_s, per_s=20_000)})
    noisy = rates.model_copy(
        update={
            name: getattr(rates, name).model_copy(update={"spread": spread})
            for name in ("prefill", "decode", "learner")
        }
    )
    config, found = run(
        noisy,
        replicas=replicas,
        groups=groups,
        staleness=staleness,
        size=size,
        beta=0.1,
        seed=seed,
    )
    assert found.started == found.trained + found.alive
    assert found.alive == config.slots
    assert 0 <= found.learner_idle <= 1
    assert 0 <= found.rollout_idle <= 1


@settings(max_examples=40)
@given(
    groups=st.sampled_from([1, 2, 4, 8, 16]),
    size=st.integers(2, 4),
    doublings=st.integers(0, 6),
)
def test_twice_the_rollout_actors_never_make_a_synchronous_step_slower(
    rates, groups, size, doublings
):
    _, few = run(rates, replicas=2**doublings, groups=groups, size=size)
    _, many = run(rates, replicas=2 ** (doublings + 1), groups=groups, size=size)
    assert many.step_s <= few.step_s * (1 + 1e-9)


def test_a_step_waits_for_its_longest_completion(rates):
    config = run_config(algo={"beta": 0}, rollout={"max_new_tokens": 64})
    slow = only(rates, decode=Rate(fixed_s=0.25, per_s=1e30))
    alike = Workload(
        audio_s=1, prompt_tokens=50, completion_tokens=32, group_size=8, groups_per_step=8
    )

    def step_s(workload):
        return simulate(config, slow, workload, num_bytes=0, replicas=8).step_s

    assert step_s(alike) == pytest.approx(8, rel=0.05)
    # Of 64 completions the longest is about 2.4 deviations above the mean.
    assert step_s(replace(alike, completion_std=8)) == pytest.approx(8 + 0.25 * 19, rel=0.1)


def test_a_seed_decides_the_spread(rates):
    noisy = rates.model_copy(update={"learner": rates.learner.model_copy(update={"spread": 0.3})})
    assert run(noisy, seed=1)[1] == run(noisy, seed=1)[1]
    assert run(noisy, seed=1)[1] != run(noisy, seed=2)[1]
