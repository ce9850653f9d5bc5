"""How much work one step is: tokens of prompts, completions and packed rows.

Without anything measured every clip and every completion is as long as the configuration allows,
which is what memory has to hold; time is better told from measured lengths.
"""

from dataclasses import dataclass, replace
from typing import Self

from keomni_rl.config.schema import RunConfig
from keomni_rl.data.audio import HOP, SAMPLE_RATE_HZ, num_audio_tokens

TEXT_TOKENS = 160
"""Allowed for a question with its options and instruction in the chat template."""


@dataclass(frozen=True, slots=True)
class Workload:
    """One group, and how many of them a step takes."""

    audio_s: float
    """Of its clip."""
    prompt_tokens: float
    """Audio included."""
    completion_tokens: float
    group_size: int
    groups_per_step: int
    completion_std: float = 0.0
    """Standard deviation of a completion's tokens."""

    @classmethod
    def longest(cls, config: RunConfig) -> Self:
        """The longest groups that a configuration lets through."""
        audio_s = config.data.max_audio_s
        prompt = audio_tokens(audio_s) + TEXT_TOKENS
        is_grpo = config.algo.kind == "grpo"
        new_tokens = config.rollout.max_new_tokens
        if is_grpo:  # a longer prompt is refused before the run starts
            prompt = min(prompt, config.engine.max_model_len - new_tokens)
        return cls(
            audio_s=audio_s,
            prompt_tokens=prompt,
            completion_tokens=new_tokens,
            group_size=config.rollout.group_size if is_grpo else 1,
            groups_per_step=config.train.groups_per_step,
        )

    def measured(
        self, prompt_tokens: float, completion_tokens: float, completion_std: float = 0.0
    ) -> "Workload":
        """The same groups at lengths that were measured, cut where this one's are cut."""
        return replace(
            self,
            prompt_tokens=min(prompt_tokens, self.prompt_tokens),
            completion_tokens=min(completion_tokens, self.completion_tokens),
            completion_std=completion_std,
        )

    @property
    def row_tokens(self) -> float:
        """Of the shared-prefix row: the prompt once and every completion."""
        return self.prompt_tokens + self.new_tokens

    @property
    def new_tokens(self) -> float:
        """Of all completions of one group."""
        return self.group_size * self.completion_tokens


def audio_tokens(audio_s: float) -> int:
    """Audio embeddings of a clip of some seconds."""
    return num_audio_tokens(max(3, round(audio_s * SAMPLE_RATE_HZ / HOP)))
