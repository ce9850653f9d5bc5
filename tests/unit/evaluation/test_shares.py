import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from keomni_rl.evaluation.shares import Share, wilson_interval


def test_wilson_interval_by_hand():
    # z = 1.959964, z^2 = 3.841459; p = 0.8, n = 10:
    # centre (0.8 + 0.192073) / 1.384146 = 0.716741
    # half 1.959964 * sqrt(0.016 + 0.009604) / 1.384146 = 0.226577
    assert wilson_interval(0.8, 10) == pytest.approx((0.490162, 0.943318), abs=2e-6)


def test_a_share_by_hand():
    share = Share.of(8, 10)
    assert share.accuracy == 0.8
    assert share.stderr == pytest.approx(math.sqrt(0.016))
    assert share.interval95 == wilson_interval(0.8, 10)


def test_the_standard_error_of_1000_questions_is_a_point_and_a_half():
    assert Share.of(689, 1000).stderr == pytest.approx(0.01464, abs=1e-5)


@given(st.integers(1, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_is_scipys(counts):
    correct, n = counts
    wanted = binomtest(correct, n).proportion_ci(0.95, method="wilson")
    interval = Share.of(correct, n).interval95
    assert interval == pytest.approx((wanted.low, wanted.high), abs=1e-9)
    assert 0 <= interval[0] <= correct / n <= interval[1] <= 1


def test_questions_without_answers_have_a_count_and_nothing_else():
    share = Share.unjudged(9000)
    assert (share.accuracy, share.stderr, share.interval95, share.n) == (None, None, None, 9000)


def test_a_clustered_standard_error_by_hand():
    # means 1, 0.5, 0, 0.5: mean 0.5, squares 0.25 + 0 + 0.25 + 0, so 0.5 / 16
    share = Share.of_means([1, 0.5, 0, 0.5], 8)
    assert share.accuracy == 0.5
    assert share.stderr == pytest.approx(math.sqrt(0.5) / 4)
    assert share.n == 4
    # as many independent tries as have this error: 0.25 / (0.5 / 16) = 8
    assert share.interval95 == pytest.approx(wilson_interval(0.5, 8))


@given(st.lists(st.booleans(), min_size=1, max_size=40))
def test_one_sample_a_question_is_the_plain_share(right):
    clustered = Share.of_means([float(r) for r in right], len(right))
    plain = Share.of(sum(right), len(right))
    assert clustered.stderr == pytest.approx(plain.stderr)
    assert clustered.interval95 == pytest.approx(plain.interval95)


def test_samples_that_never_vary_are_one_try_and_equal_means_at_most_all_of_them():
    assert Share.of_means([1.0] * 10, 80).interval95 == wilson_interval(1.0, 10)
    assert Share.of_means([0.5] * 10, 80).interval95 == wilson_interval(0.5, 80)
