"""The files of a learner checkpoint, read without DeepSpeed: for export and for a fresh network."""

from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import safe_open
from torch import nn

from keomni_rl.errors import CheckpointError

MOMENTS = ("exp_avg", "exp_avg_sq")
KINDS = ("policy", *MOMENTS)
"""Each kind is a set of files ``KIND-NNNNN.safetensors`` of whole float32 tensors."""
STEP = "adam_step"
"""Among the second moments: optimizer steps done, for bias correction."""


def read_stored(folder: Path, kind: str) -> Iterator[tuple[str, torch.Tensor]]:
    """The tensors of one kind under bare parameter names, one at a time.

    Raises:
        CheckpointError: there are none.
    """
    files = sorted(folder.glob(f"{kind}-*.safetensors"))
    if not files:
        raise CheckpointError(f"{folder}: no {kind}-*.safetensors; this is no learner checkpoint")
    for file in files:
        with safe_open(file, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118 - not a dict
                yield name, tensors.get_tensor(name)


def load_policy(network: nn.Module, folder: Path) -> None:
    """Put a checkpoint's weights into a network that DeepSpeed has not wrapped yet.

    Raises:
        CheckpointError: the checkpoint holds other parameters than the network.
    """
    stored = dict(read_stored(folder, "policy"))
    params = dict(network.named_parameters())
    if different := sorted(stored.keys() ^ params.keys()):
        raise CheckpointError(
            f"{folder}: its parameters are not the model's, for example {different[0]!r}; "
            "resume with the model.path that the run began with"
        )
    for name, param in params.items():
        param.data.copy_(stored[name])
