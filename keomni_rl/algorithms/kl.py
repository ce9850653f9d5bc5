"""The KL penalty towards the reference policy."""

import torch
from jaxtyping import Float
from torch import Tensor


def k3(
    policy_logprobs: Float[Tensor, " N"], ref_logprobs: Float[Tensor, " N"]
) -> Float[Tensor, " N"]:
    """exp(d) - d - 1 with d = ref - policy: unbiased, never negative, 0 where the two agree.

    Source: Schulman, "Approximating KL Divergence" (k3); DeepSeekMath, arXiv 2402.03300,
    equation 4. The gradient flows through ``policy_logprobs`` only.
    """
    difference = ref_logprobs.detach() - policy_logprobs
    return torch.exp(difference) - difference - 1
