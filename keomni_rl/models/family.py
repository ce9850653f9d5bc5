"""What the system asks of a model family, and which family a model folder belongs to.

A family is a handful of facts and functions about one architecture: how to load what is trained,
how audio becomes embeddings, how its checkpoints lie on disk, what a tiny one looks like. To add
one, write a file like ``qwen2_audio.py`` and a line in ``FAMILIES``.
"""

import os
from collections.abc import Iterable, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from keomni_rl.data.json_lines import NOT_JSON, decode_json, read_whole
from keomni_rl.errors import CheckpointError

if TYPE_CHECKING:
    import torch

    from keomni_rl.models.prefix_attention import RowLayout
    from keomni_rl.types import Clip

FAMILIES = {
    "qwen2_5_omni": "keomni_rl.models.qwen2_5_omni",
    "qwen2_5_omni_thinker": "keomni_rl.models.qwen2_5_omni",
    "qwen2_audio": "keomni_rl.models.qwen2_audio",
}
"""``model_type`` of a checkpoint's config.json -> module that defines ``FAMILY``."""

NUM_LAYERS = ("num_hidden_layers", "encoder_layers", "depth")
"""Keys of a config.json, in whichever part."""
MAX_LAYERS = 1000

LayoutName = Literal["thinker", "full"]
Config = dict[str, Any]
"""The content of a config.json."""


class Layout(Protocol):
    """One way in which a family's checkpoints lie on disk."""

    name: LayoutName
    architecture: str
    """The class in transformers that loads it."""
    companions: tuple[str, ...]
    """Files that belong to it and are not JSON or text: carried as bytes, never opened."""

    def matches(self, config: Config) -> bool:
        """Whether a config.json of the family is of this layout."""

    def convert(self, config: Config) -> Config:
        """The config.json of any of the family's layouts, turned into this one."""

    def stored_name(self, name: str) -> str:
        """A parameter's name in the files, from its in-memory name."""

    def own_name(self, stored: str) -> str | None:
        """The in-memory name of a stored tensor; None if it is no part of what is trained."""


class Family(Protocol):
    """One architecture. Shapes: B rows, S tokens of a row, D width, F mel frames.

    Mel spectrograms are those of `keomni_rl.types.Clip`: the clip's frames and a short tail.
    """

    name: str
    layouts: tuple[Layout, ...]
    """One of them is called ``full``: what the hub has and vLLM loads."""
    longest_clip_s: float
    """Audio beyond this is not heard: the feature extractor's window."""
    audio_tower: str
    """Where the audio encoder is in the loaded network: a dotted path."""
    language_model: str
    """Where the decoder layers are in the loaded network: a dotted path."""

    def load(self, path: Path, dtype: "torch.dtype") -> Any:
        """Load the trained part (no talker, no vision tower) from any of the layouts."""

    def describe(self, path: Path) -> Any:
        """The network that `load` gives, from config.json alone: shapes without weights."""

    def wire_name(self, name: str) -> str:
        """The name that vLLM loads a parameter under, from its in-memory name."""

    def embed(
        self, model: Any, ids_BS: "torch.Tensor", mels: Sequence["torch.Tensor"]
    ) -> "torch.Tensor":
        """Token embeddings with the audio of ``mels`` ([128, F] each) in place: [B, S, D]."""

    def decode(
        self,
        model: Any,
        embeds_BSD: "torch.Tensor",
        layouts: Sequence["RowLayout"],
        positions_BS: "torch.Tensor",
    ) -> "torch.Tensor":
        """Hidden states [B, S, D] after the last norm; tokens see what the layouts say."""

    def load_processor(self, path: Path) -> Any:
        """The tokenizer with its feature extractor and chat template."""

    def chat_text(self, processor: Any, text: str) -> str:
        """The chat prompt, one audio placeholder before ``text``, up to the assistant's turn."""

    def prompt_ids(self, processor: Any, text: str, num_mel_frames: int) -> list[int]:
        """Token ids of the chat prompt with its placeholder expanded, as the engine has them."""

    def engine_audio(self, clip: "Clip") -> Any:
        """A clip in the form that vLLM takes: features where it takes them, else samples."""

    def forbidden_tokens(self, processor: Any) -> list[int]:
        """Ids of multimodal placeholders, which a policy must never sample."""

    def build_tiny(self, texts: Iterable[str]) -> tuple[Any, Any]:
        """A random network of about three million parameters and its processor.

        Args:
            texts: what its tokenizer learns from.
        """


def layout_named(family: Family, name: LayoutName) -> Layout:
    """One of a family's layouts.

    Raises:
        CheckpointError: the family has none of that name.
    """
    for layout in family.layouts:
        if layout.name == name:
            return layout
    names = ", ".join(layout.name for layout in family.layouts)
    raise CheckpointError(f"{family.name} has no layout {name!r}, only {names}; choose that one")


def read_config(path: Path) -> Config:
    """Read a model folder's config.json.

    Raises:
        CheckpointError: there is no such folder or no readable config.json in it, or one with more
            layers than any model has.
    """
    if not os.path.isfile(path / "config.json"):
        raise CheckpointError(
            f"{path}: no config.json, wanted a model folder in Hugging Face format; "
            "give the path of a downloaded model or of one that `keomni-rl export` wrote"
        )
    config = read_object(path / "config.json")
    _refuse_many_layers(config, path / "config.json")
    return config


def _refuse_many_layers(config: Config, file: Path) -> None:
    """Each of them takes memory before it is known whether there are weights for it."""
    for key, value in config.items():
        if isinstance(value, dict):
            _refuse_many_layers(value, file)
        elif key in NUM_LAYERS and isinstance(value, int) and value > MAX_LAYERS:
            raise CheckpointError(
                f"{file}: {key} is {value!s:.80}, wanted at most {MAX_LAYERS}; download the "
                "model again"
            )


def read_object(file: Path) -> dict[str, Any]:
    """Read one of a model folder's JSON files, which are all objects.

    Raises:
        CheckpointError: it is none.
    """
    try:
        found = decode_json(read_whole(file, "an object that describes a model"))
    except NOT_JSON as error:
        raise CheckpointError(f"{file}: not JSON ({error}); download the model again") from error
    if not isinstance(found, dict):
        raise CheckpointError(f"{file}: wanted a JSON object; download the model again")
    return found


def family_module(path: Path) -> str:
    """The module of a model folder's family, without importing it.

    Raises:
        CheckpointError: the folder's ``model_type`` is of no known family.
    """
    model_type = read_config(path).get("model_type")
    if not isinstance(model_type, str) or model_type not in FAMILIES:
        raise CheckpointError(
            f"{path}: model_type {model_type!r:.80} is of no known family, wanted one of "
            f"{', '.join(sorted(FAMILIES))}; use such a model or add a family to keomni_rl/models"
        )
    return FAMILIES[model_type]


def find_family(path: Path) -> Family:
    """The family of a model folder; raises as `family_module`."""
    family: Family = import_module(family_module(path)).FAMILY
    return family
