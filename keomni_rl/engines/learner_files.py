"""The files of a learner checkpoint, read without DeepSpeed: for export and for a fresh network."""

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn

from keomni_rl.errors import CheckpointError
from keomni_rl.models.layout import read_safetensors

MOMENTS = ("exp_avg", "exp_avg_sq")
KINDS = ("policy", *MOMENTS)
"""Each kind is a set of files ``KIND-NNNNN.safetensors`` of whole float32 tensors."""
STEP = "adam_step"
"""Among the second moments: optimizer steps done, for bias correction."""


def read_stored(folder: Path, kind: str) -> Iterator[tuple[str, torch.Tensor]]:
    """The tensors of one kind under bare parameter names, one at a time.

    Raises:
        CheckpointError: there are none, or one is no safetensors.
    """
    files = sorted(folder.glob(f"{kind}-*.safetensors"))
    if not files:
        raise CheckpointError(f"{folder}: no {kind}-*.safetensors; this is no learner checkpoint")
    for file in files:
        yield from read_safetensors(file, "use another checkpoint")


def trained_parameters(network: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that learn, which are those that a checkpoint holds."""
    return {name: p for name, p in network.named_parameters() if p.requires_grad}


def load_policy(network: nn.Module, folder: Path) -> None:
    """Put a checkpoint's weights into a network that DeepSpeed has not wrapped yet.

    Raises:
        CheckpointError: the checkpoint holds other parameters than those of the network that learn.
    """
    stored = dict(read_stored(folder, "policy"))
    params = trained_parameters(network)
    if different := sorted(stored.keys() ^ params.keys()):
        raise CheckpointError(
            f"{folder}: its parameters are not those that learn here, for example "
            f"{different[0]!r}; resume with the model.path and learner.trained that the run began "
            "with"
        )
    for name, param in params.items():
        param.data.copy_(stored[name])
