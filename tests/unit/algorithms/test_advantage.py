import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keomni_rl.algorithms.advantage import group_advantages, has_signal

rewards = st.lists(st.sampled_from([0.0, 1.0, 2.0, 3.0]), min_size=2, max_size=16)


def test_advantages_by_hand():
    # mean 1, deviations -1 0 0 1, std with ddof 1 = sqrt(2/3)
    expected = np.array([-1, 0, 0, 1]) / (np.sqrt(2 / 3) + 1e-4)
    np.testing.assert_allclose(group_advantages([0.0, 1.0, 1.0, 2.0]), expected, rtol=1e-6)


def test_eps_tames_rewards_that_hardly_differ():
    # deviations -5e-5 and 5e-5, std 1e-4 / sqrt(2)
    expected = 5e-5 / (1e-4 / np.sqrt(2) + 1e-4)
    np.testing.assert_allclose(group_advantages([0.0, 1e-4]), [-expected, expected], rtol=1e-6)


def test_nan_rewards_are_not_hidden():
    assert has_signal([float("nan")] * 2)
    assert np.isnan(group_advantages([float("nan"), 1.0])).all()


def test_advantages_without_division_are_centred_rewards():
    np.testing.assert_allclose(group_advantages([0.0, 3.0], divide_by_std=False), [-1.5, 1.5])


@given(rewards)
def test_advantages_sum_to_zero_and_keep_the_order(values):
    advantages = group_advantages(values)
    assert abs(float(advantages.sum())) < 1e-4
    for a, b in zip(np.argsort(values, kind="stable"), np.argsort(advantages, kind="stable")):
        assert values[a] == values[b]


@given(st.floats(-5, 5, allow_subnormal=False), st.integers(2, 9))
def test_equal_rewards_teach_nothing(value, size):
    assert not has_signal([value] * size)
    assert (group_advantages([value] * size) == 0).all()


def test_a_group_of_one_is_refused():
    with pytest.raises(ValueError, match="group of 1"):
        group_advantages([1.0])
