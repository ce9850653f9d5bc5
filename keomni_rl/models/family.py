"""What the system asks of a model family, and which family a model folder belongs to.

A family is a handful of facts and functions about one architecture: how to load what is trained,
how audio becomes embeddings, what its parameters are called on the wire to vLLM. To add one, write
a file like ``qwen2_5_omni.py`` and a line in ``FAMILIES``.
"""

import json
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from keomni_rl.errors import CheckpointError

if TYPE_CHECKING:
    import torch

FAMILIES = {
    "qwen2_5_omni": "keomni_rl.models.qwen2_5_omni",
    "qwen2_5_omni_thinker": "keomni_rl.models.qwen2_5_omni",
}
"""``model_type`` of a checkpoint's config.json -> module that defines ``FAMILY``."""


class Family(Protocol):
    """One architecture. Shapes: B rows, S tokens of a row, D width, F mel frames."""

    name: str
    wire_prefix: str
    """Put before a trained parameter's name to get the name vLLM loads it under."""

    def load(self, path: Path, dtype: "torch.dtype") -> Any:
        """Load the trained part (no talker, no vision tower) from either checkpoint layout."""

    def embed(
        self, model: Any, ids_BS: "torch.Tensor", mels: Sequence["torch.Tensor"]
    ) -> "torch.Tensor":
        """Token embeddings with the audio of ``mels`` ([128, F] each) in place: [B, S, D]."""

    def decode(
        self,
        model: Any,
        embeds_BSD: "torch.Tensor",
        mask_B1SS: "torch.Tensor",
        positions_BS: "torch.Tensor",
    ) -> "torch.Tensor":
        """Hidden states [B, S, D] after the last norm, under an arbitrary attention mask."""

    def load_processor(self, path: Path) -> Any:
        """The tokenizer with its feature extractor and chat template."""

    def chat_text(self, processor: Any, text: str) -> str:
        """The chat prompt, one audio placeholder before ``text``, up to the assistant's turn."""

    def prompt_ids(self, processor: Any, text: str, num_mel_frames: int) -> list[int]:
        """Token ids of the chat prompt with its placeholder expanded, as the engine has them."""

    def forbidden_tokens(self, processor: Any) -> list[int]:
        """Ids of multimodal placeholders, which a policy must never sample."""


def read_config(path: Path) -> dict[str, Any]:
    """Read a model folder's config.json.

    Raises:
        CheckpointError: there is no such folder or no readable config.json in it.
    """
    file = path / "config.json"
    if not file.is_file():
        raise CheckpointError(
            f"{path}: no config.json, wanted a model folder in Hugging Face format; "
            "give the path of a downloaded model or of one that `keomni-rl export` wrote"
        )
    try:
        config: dict[str, Any] = json.loads(file.read_text())
    except json.JSONDecodeError as error:
        raise CheckpointError(f"{file}: not JSON ({error}); download the model again") from error
    return config


def family_module(path: Path) -> str:
    """The module of a model folder's family, without importing it.

    Raises:
        CheckpointError: the folder's ``model_type`` is of no known family.
    """
    model_type = read_config(path).get("model_type")
    if model_type not in FAMILIES:
        raise CheckpointError(
            f"{path}: model_type {model_type!r} is of no known family, wanted one of "
            f"{', '.join(sorted(FAMILIES))}; use such a model or add a family to keomni_rl/models"
        )
    return FAMILIES[model_type]


def find_family(path: Path) -> Family:
    """The family of a model folder; raises as `family_module`."""
    family: Family = import_module(family_module(path)).FAMILY
    return family
