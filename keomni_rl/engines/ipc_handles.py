"""CUDA IPC handles as plain data, for the way from an actor to its engine's own process.

PyTorch describes shared GPU memory by the arguments of `rebuild_cuda_tensor`, some of which are
classes. vLLM's messages carry those by pickle alone, which its engines are told to refuse. What is
sent here is always the same, a buffer of bytes, so the classes need not travel.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

TENSOR_CLASS, SIZE, STRIDE, STORAGE_CLASS, DTYPE = 0, 1, 2, 4, 5
"""Positions among the arguments of `torch.multiprocessing.reductions.rebuild_cuda_tensor`."""
CLASSES = {
    TENSOR_CLASS: torch.Tensor,
    STORAGE_CLASS: torch.storage.TypedStorage,
    DTYPE: torch.uint8,
}
"""What they are for a buffer of bytes."""


def plain_handles(handles: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
    """Arguments by the GPU's id, the classes left out.

    Raises:
        ValueError: they are not those of a buffer of bytes.
    """
    return {gpu: _plain(arguments) for gpu, arguments in handles.items()}


def _plain(arguments: Sequence[Any]) -> list[Any]:
    for position, wanted in CLASSES.items():
        if arguments[position] is not wanted:
            raise ValueError(f"an IPC handle of {arguments[position]}, wanted one of {wanted}")
    plain = [None if position in CLASSES else value for position, value in enumerate(arguments)]
    plain[SIZE], plain[STRIDE] = list(arguments[SIZE]), list(arguments[STRIDE])
    return plain


def whole_handles(handles: Mapping[str, Sequence[Any]]) -> dict[str, tuple[Any, ...]]:
    """What `plain_handles` was given."""
    return {
        gpu: tuple(
            tuple(value) if position in (SIZE, STRIDE) else CLASSES.get(position, value)
            for position, value in enumerate(arguments)
        )
        for gpu, arguments in handles.items()
    }
