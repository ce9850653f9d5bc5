"""What is measured on: the real architecture with six layers of width 512, groups of long prompts.

Weights are random, clips noise and completions random tokens: none of that matters for speed.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

GROUP_SIZE = 8
NUM_TOKENS = 64
"""Of every completion."""
TEXT = {
    "hidden_size": 512,
    "intermediate_size": 2048,
    "num_hidden_layers": 6,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
}
AUDIO = {
    "d_model": 256,
    "encoder_layers": 3,
    "encoder_attention_heads": 4,
    "encoder_ffn_dim": 1024,
    "output_dim": 512,
}
"""About as small beside the language model as Qwen2.5-Omni-7B's audio tower is."""
CHOICES = ("a dog", "a cat", "a siren", "a piano")


def question(number: int, audio: str = "") -> dict[str, Any]:
    """A row of a file of questions."""
    return {
        "id": str(number),
        "question": f"Which of the sounds is heard in recording {number}?",
        "choices": CHOICES,
        "answer": CHOICES[number % len(CHOICES)],
        "audio": audio,
    }


def prompt_text(number: int) -> str:
    """That question as a training asks it."""
    from keomni_rl.config.schema import PromptConfig
    from keomni_rl.data.prompts import make_prompt
    from keomni_rl.types import Question

    return make_prompt(Question(**question(number)), PromptConfig()).text


def build_model(folder: Path, *, vocabulary: int | None = None) -> Path:
    """Write a random Qwen2.5-Omni thinker of the benchmarks' size.

    Args:
        folder: to make.
        vocabulary: size of embedding and head; the tokenizer's own by default.
    """
    from transformers import Qwen2_5OmniThinkerConfig, Qwen2_5OmniThinkerForConditionalGeneration

    from keomni_rl.models.layout import write_tensors
    from keomni_rl.models.tiny import build_tiny

    build_tiny(folder, [prompt_text(number) for number in range(1000)], seed=0)
    file = folder / "config.json"
    config = json.loads(file.read_text())
    config["text_config"] |= TEXT | {
        "layer_types": ["full_attention"] * TEXT["num_hidden_layers"],
        "vocab_size": vocabulary or config["text_config"]["vocab_size"],
    }
    config["audio_config"] |= AUDIO
    config["vision_config"]["out_hidden_size"] = TEXT["hidden_size"]
    file.write_text(json.dumps(config))
    torch.manual_seed(0)
    network = Qwen2_5OmniThinkerForConditionalGeneration(
        Qwen2_5OmniThinkerConfig.from_pretrained(folder)
    )
    for weights in folder.glob("*.safetensors"):
        weights.unlink()
    write_tensors(folder, network.state_dict().items())
    return folder


@dataclass(frozen=True, slots=True)
class Work:
    """One group on its way to the learner, and the clip as a trainer's processor takes it."""

    row: Any
    """`keomni_rl.engines.rows.Row`"""
    features: torch.Tensor
    """[1, 128, F]"""

    @property
    def prompt_ids(self) -> np.ndarray:
        """Token ids, [P]."""
        ids: np.ndarray = self.row.rollout.group.prompt_ids
        return ids

    @property
    def completions(self) -> list[np.ndarray]:
        """Token ids, G times [T]."""
        return [c.token_ids for c in self.row.rollout.group.completions]

    @property
    def tokens_shared(self) -> int:
        """Of the group as one row."""
        tokens: int = self.row.rollout.num_tokens
        return tokens

    @property
    def tokens_padded(self) -> int:
        """Of the group as one row for each completion, padded to the longest."""
        longest = max(map(len, self.completions))
        return len(self.completions) * (len(self.prompt_ids) + longest)


def noise(seconds: float, seed: int, rate_hz: int = 16_000) -> np.ndarray:
    """A clip, mono."""
    rng = np.random.default_rng(seed)
    return (0.1 * rng.standard_normal(round(seconds * rate_hz))).astype(np.float32)


def make_work(model: Path, seconds: Sequence[float], *, seed: int = 0) -> list[Work]:
    """A group of full-length completions for a clip of each length."""
    from keomni_rl.models.family import find_family

    family = find_family(model)
    processor = family.load_processor(model)
    rng = np.random.default_rng(seed)
    return [
        _work(family, processor, noise(length, seed * 1000 + number), number, rng)
        for number, length in enumerate(seconds)
    ]


def _work(
    family: Any, processor: Any, samples: np.ndarray, number: int, rng: np.random.Generator
) -> Work:
    from keomni_rl.data.audio import TAIL_FRAMES, log_mel
    from keomni_rl.engines.rows import Row
    from keomni_rl.types import (
        Clip,
        Completion,
        FinishReason,
        Group,
        GroupKey,
        Prompt,
        Question,
        RolloutGroup,
    )

    clip = Clip(samples=samples, mel=log_mel(samples))
    ids = family.prompt_ids(processor, prompt_text(number), clip.mel.shape[1])
    completions = tuple(
        Completion(
            token_ids=rng.integers(0, 250, NUM_TOKENS).astype(np.int32),
            rollout_logprobs=np.full(NUM_TOKENS, -6.6, np.float32),
            text="",
            finish_reason=FinishReason.LENGTH,
            policy_version=(0, 0),
        )
        for _ in range(GROUP_SIZE)
    )
    rollout = RolloutGroup(
        group=Group(
            key=GroupKey("bench", number),
            prompt=Prompt(question=Question(**question(number)), text=""),
            prompt_ids=np.asarray(ids, np.int32),
            completions=completions,
        ),
        rewards=(),
        advantages=rng.standard_normal(GROUP_SIZE).astype(np.float32),
        ref_logprobs=tuple(c.rollout_logprobs for c in completions),
    )
    weights = np.full(GROUP_SIZE, 1 / (GROUP_SIZE * NUM_TOKENS), np.float32)
    features = torch.from_numpy(clip.mel[:, :-TAIL_FRAMES].copy())[None]
    return Work(Row(rollout, clip, weights), features)
