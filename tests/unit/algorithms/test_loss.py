import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from keomni_rl.algorithms.aggregation import token_weights
from keomni_rl.algorithms.kl import k3
from keomni_rl.algorithms.loss import grpo_loss


def t(*values, grad=False):
    return torch.tensor(values, dtype=torch.float32, requires_grad=grad)


def test_token_weights_by_hand():
    assert token_weights([1, 3], "sequence").tolist() == pytest.approx([1 / 2, 1 / 6])
    assert token_weights([1, 3], "token").tolist() == pytest.approx([1 / 4, 1 / 4])
    constant = token_weights([1, 3], "constant", constant_tokens=10)
    assert constant.tolist() == pytest.approx([1 / 20, 1 / 20])
    with pytest.raises(ValueError, match="constant_tokens"):
        token_weights([1], "constant")


@given(st.lists(st.integers(1, 50), min_size=1, max_size=20))
def test_token_weights_make_a_mean(lengths):
    for aggregation in ("sequence", "token"):
        weights = token_weights(lengths, aggregation)
        assert sum(w * n for w, n in zip(weights, lengths)) == pytest.approx(1.0, rel=1e-5)


def test_k3_by_hand_and_gradient_through_the_policy_only():
    policy, ref = t(-1.0, grad=True), t(-2.0, grad=True)
    value = k3(policy, ref)
    assert value.item() == pytest.approx(math.exp(-1) + 1 - 1)
    value.sum().backward()
    assert policy.grad.item() == pytest.approx(1 - math.exp(-1))
    assert ref.grad is None


def test_loss_of_one_update_per_rollout_is_the_policy_gradient():
    policy = t(-1.0, -2.0, grad=True)
    loss, _ = grpo_loss(policy, t(-1.0, -2.0), t(1.5, -0.5), t(0.5, 0.5))
    assert loss.item() == pytest.approx(-0.5 * (1.5 - 0.5))
    loss.backward()
    assert policy.grad.tolist() == pytest.approx([-0.75, 0.25])


def test_truncated_importance_sampling_caps_the_weight():
    policy = t(-1.0, -1.0, grad=True)
    loss, metrics = grpo_loss(policy, t(-3.0, -0.5), t(1.0, 1.0), t(1.0, 1.0), importance_cap=2.0)
    loss.backward()
    assert policy.grad.tolist() == pytest.approx([-2.0, -math.exp(-0.5)])
    assert metrics["importance/weight_sum"].item() == pytest.approx(2.0 + math.exp(-0.5))
    assert metrics["kl/rollout_policy_max"].item() == pytest.approx(2.0)


def test_clipping_against_the_sampler_has_its_own_bounds_on_each_side():
    policy = t(math.log(1.5), math.log(0.5), math.log(1.5), grad=True)
    loss, metrics = grpo_loss(
        policy,
        t(0.0, 0.0, 0.0),
        t(1.0, -1.0, -1.0),
        t(1.0, 1.0, 1.0),
        clip_low=0.2,
        clip_high=0.28,
        old_logprobs="rollout",
        importance_cap=None,
    )
    assert loss.item() == pytest.approx(-1.28 + 0.8 + 1.5)
    loss.backward()
    assert policy.grad.tolist() == pytest.approx([0.0, 0.0, 1.5])
    assert metrics["importance/clipped_sum"].item() == 2  # the third is not held back


def test_beta_adds_the_kl():
    loss, metrics = grpo_loss(
        t(-1.0), t(-1.0), t(0.0), t(1.0), ref_logprobs=t(-2.0), beta=0.5, importance_cap=None
    )
    assert loss.item() == pytest.approx(0.5 * math.exp(-1))
    assert metrics["kl/ref_sum"].item() == pytest.approx(math.exp(-1))
    with pytest.raises(ValueError, match="reference"):
        grpo_loss(t(-1.0), t(-1.0), t(0.0), t(1.0), beta=0.5)


def test_nan_is_not_hidden():
    loss, _ = grpo_loss(t(float("nan")), t(-1.0), t(1.0), t(1.0))
    assert torch.isnan(loss)


@given(st.lists(st.integers(1, 9), min_size=2, max_size=8), st.data())
def test_loss_is_the_same_however_tokens_are_split(lengths, data):
    cut = data.draw(st.integers(1, len(lengths) - 1))
    torch.manual_seed(sum(lengths))
    total = sum(lengths)
    weights = torch.from_numpy(token_weights(lengths, "sequence")).repeat_interleave(
        torch.tensor(lengths)
    )
    inputs = [torch.randn(total), torch.randn(total), torch.randn(total), weights]
    whole, _ = grpo_loss(*inputs)
    middle = sum(lengths[:cut])
    first, _ = grpo_loss(*(x[:middle] for x in inputs))
    second, _ = grpo_loss(*(x[middle:] for x in inputs))
    assert whole.item() == pytest.approx((first + second).item(), abs=1e-4, rel=1e-4)
