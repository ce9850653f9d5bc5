"""Builds a network from a model folder's own tensors, and nothing else that lies there."""

from pathlib import Path
from typing import Any

import torch

from keomni_rl.errors import CheckpointError
from keomni_rl.models.layout import read_tensors


def load_network(network_class: Any, config: Any, path: Path, dtype: torch.dtype) -> Any:
    """A transformers network with the tensors of what is trained; of a talker none is touched.

    Args:
        network_class: of transformers.
        config: its configuration.
        path: model folder in any layout.
        dtype: of the weights in memory.

    Raises:
        CheckpointError: a weight is missing, which transformers would make up, or does not fit
            the configuration.
    """
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        network, info = network_class.from_pretrained(
            None,
            config=config,
            state_dict=dict(read_tensors(path)),
            dtype=dtype,
            attn_implementation="sdpa",
            output_loading_info=True,
        )
    except RuntimeError as error:
        raise CheckpointError(
            f"{path}: its weights do not fit its config.json ({error}); download or export it again"
        ) from error
    if missing := sorted(info["missing_keys"]):
        raise CheckpointError(
            f"{path}: {len(missing)} weights are missing, for example {missing[0]!r}; download or "
            "export it again"
        )
    return network
