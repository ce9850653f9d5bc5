"""What of a network learns: everything, all but the audio tower, or low-rank adapters alone.

Adapters (LoRA, arXiv 2106.09685) are injected by peft. They are never served: engines sample with
the merged weights, W + (alpha / rank) * B A, and exported models have them, under the layer's own
name. vLLM could serve adapters beside the weights, but not for Qwen2-Audio, and a request in flight
keeps the adapter it began with. Engines merge for themselves what they are sent, see
`keomni_rl.engines.adapter_merge`: with adapters of rank 8 on the attention of a 7B A and B have
10 MB in bfloat16, the merged matrices 1.6 GB and the whole model 16.5 GB.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from keomni_rl.config.schema import LearnerConfig, LoraConfig
from keomni_rl.errors import ConfigError
from keomni_rl.models.family import Family

BASE, DOWN, UP = ".base_layer.weight", ".lora_A.default.weight", ".lora_B.default.weight"
SCALE = "lora_scale"
"""Key of a checkpoint's metadata: alpha / rank."""


def choose_trained(network: nn.Module, family: Family, config: LearnerConfig, *, seed: int) -> None:
    """Freeze what does not learn, in place; inject adapters where they are asked for.

    Args:
        network: as the family loads it.
        family: of the network.
        config: what learns.
        seed: of the adapters' random half; the same on every rank and in every start.

    Raises:
        ConfigError: no layer has the name of one of the adapters' targets.
    """
    if config.trained == "without_audio_tower":
        network.get_submodule(family.audio_tower).requires_grad_(False)
    elif config.trained == "lora":
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            _inject(network, family, config.lora or LoraConfig())


def lora_scale(config: LearnerConfig) -> float | None:
    """By how much a merged update is scaled; None without adapters."""
    if config.trained != "lora":
        return None
    lora = config.lora or LoraConfig()
    return lora.alpha / lora.rank


def _inject(network: nn.Module, family: Family, config: LoraConfig) -> None:
    import peft

    present = {name.rpartition(".")[2] for name, _ in network.named_modules()}
    if unknown := [target for target in config.targets if target not in present]:
        raise ConfigError(
            f"learner.lora.targets: {unknown[0]!r} names no layer of the model; "
            "usual ones are q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj"
        )
    peft.inject_adapter_in_model(
        peft.LoraConfig(
            r=config.rank,
            lora_alpha=config.alpha,
            lora_dropout=config.dropout,
            target_modules=rf"{family.language_model}\..*\.({'|'.join(config.targets)})",
        ),
        network,
    )


@dataclass(frozen=True, slots=True)
class Weight:
    """One weight as the world outside knows it, and the parameters that it comes from."""

    name: str
    """In-memory name without adapters."""
    parts: tuple[nn.Parameter, ...]
    """The parameter itself, or base, A [rank, in] and B [out, rank] of an adapted layer."""
    scale: float = 0.0

    @property
    def whole(self) -> nn.Parameter:
        """The parameter with the weight's shape and dtype."""
        return self.parts[0]

    @property
    def dtype(self) -> torch.dtype:
        """Of the weight."""
        return self.whole.dtype

    @property
    def shape(self) -> torch.Size:
        """Of the weight."""
        return whole_shape(self.whole)

    @property
    def is_adapted(self) -> bool:
        """Whether there is an adapter on it."""
        return len(self.parts) > 1

    @property
    def is_trained(self) -> bool:
        """Whether a step may change it."""
        return any(part.requires_grad for part in self.parts)

    def value(self) -> torch.Tensor:
        """The weight, merged where it is adapted; its parts must be gathered."""
        if not self.is_adapted:
            return self.whole.detach()
        base, down, up = (part.detach() for part in self.parts)
        return merge(base, down, up, self.scale)


def whole_shape(param: nn.Parameter) -> torch.Size:
    """The shape before ZeRO-3 took the parameter apart."""
    shape: torch.Size = getattr(param, "ds_shape", param.shape)
    return shape


def merge(base: torch.Tensor, down: torch.Tensor, up: torch.Tensor, scale: float) -> torch.Tensor:
    """W + scale * B A, computed in float32 and rounded once: base [out, in], A, B -> [out, in]."""
    return (base.float() + scale * (up.float() @ down.float())).to(base.dtype)


def merged_weights(network: nn.Module, scale: float | None) -> Iterator[Weight]:
    """All weights of a network, adapters merged into their layers."""
    params = dict(network.named_parameters())
    for name, param in params.items():
        if name.endswith((DOWN, UP)):
            continue
        layer = name.removesuffix(BASE)
        if scale is None or layer == name:
            yield Weight(name.replace(".base_layer.", "."), (param,))
        else:
            parts = (param, params[layer + DOWN], params[layer + UP])
            yield Weight(f"{layer}.weight", parts, scale)


def merge_stored(
    stored: Mapping[str, torch.Tensor], base: Iterator[tuple[str, torch.Tensor]], scale: float
) -> Iterator[tuple[str, torch.Tensor]]:
    """The adapted weights of a checkpoint, merged with those of the model it was trained from.

    Args:
        stored: adapter tensors under their in-memory names.
        base: the untrained model's tensors under in-memory names.
        scale: alpha / rank.
    """
    for name, tensor in base:
        layer = name.removesuffix(".weight")
        if layer + DOWN in stored:
            yield name, merge(tensor, stored[layer + DOWN], stored[layer + UP], scale)
