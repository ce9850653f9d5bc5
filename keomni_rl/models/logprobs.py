"""Log-probabilities of chosen tokens without ever holding [all tokens, vocabulary] in float32."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import checkpoint

CHUNK_LOGITS = 2**25
"""Logits held at once: 128 MiB in float32."""


def chunked_logprobs(
    head: nn.Linear,
    hidden_ND: torch.Tensor,
    targets_N: torch.Tensor,
    *,
    forbidden_tokens: Sequence[int] = (),
    temperature: float = 1.0,
    chunk_logits: int = CHUNK_LOGITS,
) -> torch.Tensor:
    """Log softmax(head(hidden) / temperature)[target], float32 [N].

    The rows are taken in chunks of ``chunk_logits / V``; backward computes a chunk's logits
    again instead of keeping them, so memory is O(chunk * V) for any N.

    Args:
        head: the language-model head, [D] -> [V]; called as a module so that ZeRO-3 gathers it.
        hidden_ND: hidden states that predict the targets.
        targets_N: token ids.
        forbidden_tokens: ids that sampling excluded, excluded here too.
        temperature: of sampling, > 0.
        chunk_logits: how many logits may exist at once.
    """
    vocabulary = head.out_features
    size = max(1, chunk_logits // vocabulary)
    forbidden = torch.tensor(list(forbidden_tokens), device=hidden_ND.device, dtype=torch.long)

    def chunk(hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return _ChosenLogprobs.apply(head(hidden).float(), targets, forbidden, temperature)

    pieces = [
        checkpoint(chunk, hidden, targets, use_reentrant=False)
        if torch.is_grad_enabled()
        else chunk(hidden, targets)
        for hidden, targets in zip(hidden_ND.split(size), targets_N.split(size), strict=True)
    ]
    return torch.cat(pieces)


class _ChosenLogprobs(torch.autograd.Function):
    """What `chunked_logprobs` is of one chunk of logits, which are overwritten.

    The gradient, one-hot minus softmax (over the temperature), takes the logits' own place: beside
    them there is one more array of their size for a moment, where autograd would keep three.
    """

    @staticmethod
    def forward(
        ctx: Any,
        logits_NV: torch.Tensor,
        targets_N: torch.Tensor,
        forbidden: torch.Tensor,
        temperature: float,
    ) -> torch.Tensor:
        if temperature != 1:
            logits_NV.div_(temperature)
        logits_NV.index_fill_(1, forbidden, float("-inf"))
        total_N = logits_NV.logsumexp(dim=1)
        ctx.save_for_backward(logits_NV, targets_N, total_N)
        ctx.temperature = temperature
        return logits_NV.gather(1, targets_N.unsqueeze(1)).squeeze(1) - total_N

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_N: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        logits_NV, targets_N, total_N = ctx.saved_tensors
        grad_NV = logits_NV.sub_(total_N.unsqueeze(1)).exp_().neg_()
        grad_NV.scatter_add_(1, targets_N.unsqueeze(1), torch.ones_like(grad_NV[:, :1]))
        return grad_NV.mul_((grad_N / ctx.temperature).unsqueeze(1)), None, None, None
