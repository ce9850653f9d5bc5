import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from keomni_rl.algorithms.aggregation import token_weights
from keomni_rl.algorithms.kl import k3
from keomni_rl.algorithms.loss import grpo_loss, likelihood_loss


def t(*values, grad=False):
    return torch.tensor(values, dtype=torch.float32, requires_grad=grad)


def test_token_weights_by_hand():
    assert token_weights([1, 3], "sequence").tolist() == pytest.approx([1 / 2, 1 / 6])
    assert token_weights([1, 3], "token").tolist() == pytest.approx([1 / 4, 1 / 4])
    constant = token_weights([1, 3], "constant", constant_tokens=10)
    assert constant.tolist() == pytest.approx([1 / 20, 1 / 20])
    with pytest.raises(ValueError, match="constant_tokens"):
        token_weights([1], "constant")
    with pytest.raises(ValueError, match="at least one token"):
        token_weights([3, 0], "token")


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
        t(1.0, 2.0, 4.0),
        clip_low=0.2,
        clip_high=0.28,
        old_logprobs="rollout",
        importance_cap=None,
    )
    assert loss.item() == pytest.approx(-1.28 + 2 * 0.8 + 4 * 1.5)
    loss.backward()
    assert policy.grad.tolist() == pytest.approx([0.0, 0.0, 6.0])
    assert metrics["importance/clipped_sum"].item() == 2  # the third is not held back


def test_beta_adds_the_kl():
    loss, metrics = grpo_loss(
        t(-1.0), t(-1.0), t(0.0), t(1.0), ref_logprobs=t(-2.0), beta=0.5, importance_cap=None
    )
    assert loss.item() == pytest.approx(0.5 * math.exp(-1))
    assert metrics["kl/ref_sum"].item() == pytest.approx(math.exp(-1))
    with pytest.raises(ValueError, match="reference"):
        grpo_loss(t(-1.0), t(-1.0), t(0.0), t(1.0), beta=0.5)


def test_metrics_by_hand():
    rollout, ref = t(-2.0, -1.0, -1.0), t(-1.0, -2.0, -1.0)
    _, metrics = grpo_loss(
        t(-1.0, -4.0, -1.0, grad=True),
        rollout,
        t(1.0, 1.0, 1.0),
        t(9.0, 9.0, 9.0),
        ref_logprobs=ref,
    )
    assert not any(value.requires_grad for value in metrics.values())
    assert {name: value.item() for name, value in metrics.items()} == pytest.approx(
        {
            "tokens_sum": 3,
            "kl/rollout_policy_sum": 1 + 3,
            "kl/rollout_policy_max": 3,
            "importance/weight_sum": 2 + math.exp(-3) + 1,
            "importance/clipped_sum": 0,
            "kl/ref_sum": math.exp(2) - 2 - 1,
        }
    )


@pytest.mark.parametrize("old", ["learner", "rollout"])
@pytest.mark.parametrize(
    "place", ["policy_logprobs", "rollout_logprobs", "advantages", "ref_logprobs"]
)
def test_nan_is_not_hidden(place, old):
    cap = 2.0 if old == "learner" else None
    names = ("policy_logprobs", "rollout_logprobs", "advantages", "weights", "ref_logprobs")
    tensors = dict.fromkeys(names, t(-1.0, -1.0)) | {place: t(-1.0, float("nan"))}
    loss, _ = grpo_loss(**tensors, beta=0.1, old_logprobs=old, importance_cap=cap)
    assert torch.isnan(loss)


def naive(policy, rollout, advantages, weights, ref, *, beta, old, cap):
    """The docstring's formula, token by token."""
    total = torch.zeros(())
    for lp, lr, a, w, lf in zip(policy, rollout, advantages, weights, ref):
        ratio = (lp - (lp.detach() if old == "learner" else lr)).exp()
        term = min(ratio * a, min(max(ratio, torch.tensor(0.8)), torch.tensor(1.28)) * a)
        if cap is not None:
            term = term * min((lp.detach() - lr).exp(), torch.tensor(cap))
        total = total + w * (beta * ((lf - lp).exp() - (lf - lp) - 1) - term)
    return total


@pytest.mark.parametrize(("old", "cap"), [("learner", 1.5), ("learner", None), ("rollout", None)])
def test_value_and_gradient_are_those_of_the_formula(old, cap):
    torch.manual_seed(1)
    policy, rollout, advantages, ref = torch.randn(4, 40).unbind()
    weights = torch.rand(40)
    policy = policy.clone().requires_grad_()
    expected = naive(policy, rollout, advantages, weights, ref, beta=0.3, old=old, cap=cap)
    loss, _ = grpo_loss(
        *(policy, rollout, advantages, weights),
        ref_logprobs=ref,
        beta=0.3,
        clip_high=0.28,
        old_logprobs=old,
        importance_cap=cap,
    )
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(
        torch.autograd.grad(loss, policy), torch.autograd.grad(expected, policy)
    )


@given(
    st.lists(st.integers(1, 9), min_size=2, max_size=8),
    st.sampled_from(["sequence", "token", "constant"]),
    st.data(),
)
def test_loss_gradient_and_metrics_are_the_same_however_tokens_are_split(
    lengths, aggregation, data
):
    total = sum(lengths)
    owner = torch.tensor(data.draw(st.lists(st.integers(0, 3), min_size=total, max_size=total)))
    generator = torch.Generator().manual_seed(total)
    policy, rollout, advantages, ref = torch.randn(4, total, generator=generator).unbind()
    constant = 16 if aggregation == "constant" else None
    per_sequence = torch.from_numpy(token_weights(lengths, aggregation, constant_tokens=constant))
    inputs = [rollout, advantages, per_sequence.repeat_interleave(torch.tensor(lengths)), ref]

    def run(part):
        leaf = policy[part].clone().requires_grad_()
        *others, own_ref = (x[part] for x in inputs)
        loss, metrics = grpo_loss(leaf, *others, ref_logprobs=own_ref, beta=0.1)
        gradient = torch.zeros(total)
        gradient[part] = torch.autograd.grad(loss, leaf)[0]
        return loss.detach(), gradient, metrics

    loss, gradient, metrics = run(torch.ones(total, dtype=torch.bool))
    parts = [run(owner == n) for n in owner.unique()]
    torch.testing.assert_close(sum(p[0] for p in parts), loss, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(sum(p[1] for p in parts), gradient)
    for name, whole in metrics.items():
        merge = max if name.endswith("_max") else sum
        torch.testing.assert_close(merge(p[2][name] for p in parts), whole, rtol=1e-4, atol=1e-4)


def test_the_supervised_loss_is_the_weighted_negative_log_likelihood():
    logprobs = torch.tensor([-1.0, -2.0, -0.5], requires_grad=True)
    weights = torch.tensor([0.5, 0.25, 0.25])
    loss, metrics = likelihood_loss(logprobs, weights)
    assert loss.item() == pytest.approx(0.5 + 0.5 + 0.125)
    loss.backward()
    assert logprobs.grad.tolist() == pytest.approx([-0.5, -0.25, -0.25])
    assert metrics["loss/token_nll_sum"].item() == pytest.approx(3.5)
    assert metrics["tokens_sum"].item() == 3


def test_its_gradient_is_that_of_grpo_with_every_advantage_one():
    generator = torch.Generator().manual_seed(0)
    logprobs = -torch.rand(7, generator=generator)
    weights = torch.rand(7, generator=generator)
    grads = []
    for loss_of in (
        lambda x: likelihood_loss(x, weights)[0],
        lambda x: grpo_loss(x, torch.zeros(7), torch.ones(7), weights, importance_cap=None)[0],
    ):
        x = logprobs.clone().requires_grad_()
        loss_of(x).backward()
        grads.append(x.grad)
    torch.testing.assert_close(grads[0], grads[1])
