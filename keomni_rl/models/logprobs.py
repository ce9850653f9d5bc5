"""Log-probabilities of chosen tokens without ever holding [all tokens, vocabulary] in float32."""

from collections.abc import Sequence

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

CHUNK_LOGITS = 2**26
"""Logits held at once: 256 MiB in float32."""


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
        logits = head(hidden).float() / temperature
        logits = logits.index_fill(1, forbidden, float("-inf"))
        chosen = logits.gather(1, targets.unsqueeze(1)).squeeze(1)
        return chosen - logits.logsumexp(dim=1)

    pieces = [
        checkpoint(chunk, hidden, targets, use_reentrant=False)
        if torch.is_grad_enabled()
        else chunk(hidden, targets)
        for hidden, targets in zip(hidden_ND.split(size), targets_N.split(size), strict=True)
    ]
    return torch.cat(pieces)
