"""The GRPO loss over a flat micro-batch of completion tokens.

Legend: N tokens of several completions, one after the other. Everything is [N].
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from keomni_rl.algorithms.kl import k3

Metrics = dict[str, Tensor]
"""Over micro-batches and ranks names in ``_sum`` add up, those in ``_max`` take the maximum."""


def grpo_loss(
    policy_logprobs: Float[Tensor, " N"],
    rollout_logprobs: Float[Tensor, " N"],
    advantages: Float[Tensor, " N"],
    weights: Float[Tensor, " N"],
    *,
    ref_logprobs: Float[Tensor, " N"] | None = None,
    beta: float = 0.0,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    old_logprobs: Literal["learner", "rollout"] = "learner",
    importance_cap: float | None = 2.0,
) -> tuple[Float[Tensor, ""], Metrics]:
    """sum_n w_n * ( -min(r A, clip(r, 1 - low, 1 + high) A) * c  +  beta * k3 ).

    r = exp(policy - old). With ``old_logprobs="learner"`` old is the policy itself without
    gradient: r is 1 and its gradient is that of the log-probability, one update per rollout as in
    Ke-Omni-R and R1-AQA; c = min(exp(policy - rollout), cap) without gradient then corrects for
    the sampler (truncated importance sampling, Yao et al. 2025). With ``"rollout"`` old is the
    sampler itself (PPO, arXiv 1707.06347, equation 7) and c is 1.

    Args:
        policy_logprobs: of each token now, with gradient.
        rollout_logprobs: of each token when it was sampled.
        advantages: of the token's completion.
        weights: of each token in the step, see `keomni_rl.algorithms.aggregation.token_weights`.
        ref_logprobs: under the reference; needed when beta is above 0.
        beta: weight of the KL to the reference.
        clip_low: lower clip range.
        clip_high: upper clip range.
        old_logprobs: the ratio's denominator.
        importance_cap: upper bound of c; None leaves the sampler uncorrected.

    Returns:
        The loss, and sums and maxima over tokens to average later.
    """
    policy = policy_logprobs.detach()
    mismatch = policy - rollout_logprobs
    old = policy if old_logprobs == "learner" else rollout_logprobs
    ratio = torch.exp(policy_logprobs - old)
    clipped = ratio.clamp(1 - clip_low, 1 + clip_high)
    surrogate = torch.minimum(ratio * advantages, clipped * advantages)
    correction = torch.ones_like(policy)
    if old_logprobs == "learner" and importance_cap is not None:
        correction = torch.exp(mismatch).clamp(max=importance_cap)
    per_token = -surrogate * correction
    metrics: Metrics = {
        "tokens_sum": torch.full((), float(policy.numel()), device=policy.device),
        "kl/rollout_policy_sum": mismatch.abs().sum(),
        "kl/rollout_policy_max": mismatch.abs().max(),
        "importance/weight_sum": correction.sum(),
        "importance/clipped_sum": (surrogate < ratio * advantages).sum().float(),
    }
    if ref_logprobs is not None:
        kl = k3(policy_logprobs, ref_logprobs)
        per_token = per_token + beta * kl
        metrics["kl/ref_sum"] = kl.detach().sum()
    elif beta > 0:
        raise ValueError(f"beta is {beta} but there are no reference log-probabilities")
    return (weights * per_token).sum(), metrics


def likelihood_loss(
    policy_logprobs: Float[Tensor, " N"], weights: Float[Tensor, " N"]
) -> tuple[Float[Tensor, ""], Metrics]:
    """-sum_n w_n * policy_n: the negative log-likelihood of written completions.

    Args:
        policy_logprobs: of each token, with gradient.
        weights: of each token in the step, see `keomni_rl.algorithms.aggregation.token_weights`.

    Returns:
        The loss, and sums over tokens to average later.
    """
    likelihood = policy_logprobs.detach()
    metrics: Metrics = {
        "tokens_sum": torch.full((), float(likelihood.numel()), device=likelihood.device),
        "loss/token_nll_sum": -likelihood.sum(),
    }
    return -(weights * policy_logprobs).sum(), metrics
