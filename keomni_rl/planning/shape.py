"""The sizes of a model that memory and traffic depend on, from its config.json alone."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from keomni_rl.config.schema import LearnerConfig
from keomni_rl.errors import CheckpointError
from keomni_rl.models.adapters import choose_trained, lora_scale, merged_weights
from keomni_rl.models.family import find_family


@dataclass(frozen=True, slots=True)
class Stack:
    """A stack of transformer layers; of an encoder all heads are key-value heads."""

    width: int
    inner: int
    """Width of the feed-forward part."""
    layers: int
    heads: int
    kv_heads: int
    head_dim: int


@dataclass(frozen=True, slots=True)
class ModelShape:
    """One model as one learner trains it."""

    family: str
    num_parameters: int
    """Of all that is loaded, adapters included."""
    num_trained: int
    num_sent: int
    """Of what engines have in the end, adapters merged."""
    vocabulary: int
    language_model: Stack
    audio_tower: Stack
    hears: bool
    """Whether the audio tower learns, and so keeps what its backward pass needs."""

    @property
    def digest(self) -> str:
        """Names the sizes, so that rates measured with others are told apart."""
        lm, tower = self.language_model, self.audio_tower
        return f"{self.family} {lm.layers}x{lm.width}, audio {tower.layers}x{tower.width}"


def model_shape(path: Path, learner: LearnerConfig) -> ModelShape:
    """Read a model folder that needs to hold no more than config.json.

    Raises:
        CheckpointError: there is no config.json, or one of no known family.
        ConfigError: adapters are asked for on layers that the model does not have.
    """
    family = find_family(path)
    network = family.describe(path)
    with torch.device("meta"):
        choose_trained(network, family, learner, seed=0)
    parameters = list(network.parameters())
    text = network.config.get_text_config()
    tower = network.get_submodule(family.audio_tower)
    return ModelShape(
        family=family.name,
        num_parameters=sum(p.numel() for p in parameters),
        num_trained=sum(p.numel() for p in parameters if p.requires_grad),
        num_sent=sum(
            weight.whole.numel() for weight in merged_weights(network, lora_scale(learner))
        ),
        vocabulary=network.lm_head.out_features,
        language_model=_decoder(text, path),
        audio_tower=_encoder(tower.config),
        hears=any(p.requires_grad for p in tower.parameters()),
    )


def _decoder(config: Any, path: Path) -> Stack:
    heads = config.num_attention_heads
    if not heads or not config.num_key_value_heads or heads % config.num_key_value_heads:
        raise CheckpointError(
            f"{path}: {heads} attention heads for {config.num_key_value_heads} key-value heads, "
            "wanted a multiple; download the model again"
        )
    return Stack(
        width=config.hidden_size,
        inner=config.intermediate_size,
        layers=config.num_hidden_layers,
        heads=heads,
        kv_heads=config.num_key_value_heads,
        head_dim=getattr(config, "head_dim", None) or config.hidden_size // heads,
    )


def _encoder(config: Any) -> Stack:
    heads = config.encoder_attention_heads
    return Stack(
        width=config.d_model,
        inner=config.encoder_ffn_dim,
        layers=config.encoder_layers,
        heads=heads,
        kv_heads=heads,
        head_dim=config.d_model // heads,
    )
