"""The carriers that travel between actors: plain, frozen, picklable data.

Nothing here imports torch or an engine, so a driver that only moves these stays light.

Legend of shapes: P prompt tokens (audio placeholders expanded), G completions of one prompt,
T tokens of one completion, N audio samples, F mel frames.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int32]
FloatArray = NDArray[np.float32]


class FinishReason(StrEnum):
    """Why a completion ended."""

    STOP = "stop"
    """The policy said end of turn; that token is the last of ``token_ids``."""
    LENGTH = "length"
    """The token limit cut it off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One row of a training file or of MMAU.

    Example:
        Question(id="q1", question="What is heard?", choices=("dog", "cat"), answer="dog",
                 audio="/data/q1.wav", dataset="AVQA")
    """

    id: str
    question: str
    choices: tuple[str, ...]
    answer: str | None
    """One of ``choices``; None where the split has no answers."""
    audio: str
    """Absolute path of the sound file."""
    dataset: str = ""
    extra: dict[str, Any] = field(default_factory=dict)
    """The row's other keys, untouched (MMAU: task, difficulty, category, sub-category)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """A question with the text the model reads after the audio."""

    question: Question
    text: str
    written: tuple[str, ...] = ()
    """Completions to learn, in supervised training."""

    @property
    def id(self) -> str:
        """The question's id."""
        return self.question.id


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Clip:
    """One sound, decoded and turned into features once for every consumer."""

    samples: FloatArray
    """[N] mono at 16 kHz, in [-1, 1]."""
    mel: FloatArray
    """[128, F] log-mel spectrogram, F = ceil(N / 160) and the two frames after the clip's end."""


@dataclass(frozen=True, slots=True, order=True)
class GroupKey:
    """Names one piece of rollout work; the first result under a key is the one taken.

    Example:
        GroupKey(run="demo-7f3a", index=17, attempt=0)
    """

    run: str
    index: int
    """Position in the prompt stream, counted from 0 over the whole run."""
    attempt: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Completion:
    """One sampled answer with what the sampler knew of it."""

    token_ids: IntArray
    """[T], the end-of-turn token included when finish_reason is STOP."""
    rollout_logprobs: FloatArray
    """[T] log-probability of each token under the policy that sampled it."""
    text: str
    finish_reason: FinishReason
    policy_version: tuple[int, int]
    """Oldest and newest weights that sampled one of its tokens."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Group:
    """The G completions of one prompt."""

    key: GroupKey
    prompt: Prompt
    prompt_ids: IntArray
    """[P] as the engine saw them: one placeholder token for each audio embedding."""
    completions: tuple[Completion, ...]

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel as two runs of bytes, not as two arrays a completion: the driver moves groups."""
        told = [
            (len(c.token_ids), c.text, c.finish_reason.value, c.policy_version)
            for c in self.completions
        ]
        token_ids = _joined([c.token_ids for c in self.completions], np.int32)
        logprobs = _joined([c.rollout_logprobs for c in self.completions], np.float32)
        prompt_ids = _joined([self.prompt_ids], np.int32)
        return _unpacked_group, (self.key, self.prompt, prompt_ids, told, token_ids, logprobs)


def _joined(arrays: list[np.ndarray], dtype: type) -> bytes:
    return b"".join([np.asarray(array, dtype).tobytes() for array in arrays])


def _unpacked_group(
    key: GroupKey,
    prompt: Prompt,
    prompt_ids: bytes,
    told: list[tuple[int, str, str, tuple[int, int]]],
    token_ids: bytes,
    logprobs: bytes,
) -> Group:
    tokens, of_tokens = np.frombuffer(token_ids, np.int32), np.frombuffer(logprobs, np.float32)
    completions, start = [], 0
    for length, text, reason, versions in told:
        end = start + length
        completions.append(
            Completion(
                token_ids=tokens[start:end],
                rollout_logprobs=of_tokens[start:end],
                text=text,
                finish_reason=FinishReason(reason),
                policy_version=versions,
            )
        )
        start = end
    return Group(
        key=key,
        prompt=prompt,
        prompt_ids=np.frombuffer(prompt_ids, np.int32),
        completions=tuple(completions),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Reward:
    """The weighted sum of a completion's rewards and its parts before weighting.

    Example:
        Reward(total=3.0, breakdown={"accuracy": 1.0, "format": 1.0})
    """

    total: float
    breakdown: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RolloutGroup:
    """A group with all that the learner needs: rewards, advantages, reference log-probabilities."""

    group: Group
    rewards: tuple[Reward, ...]
    """G of them; none of completions that were written, not sampled."""
    advantages: FloatArray
    """[G]"""
    ref_logprobs: tuple[FloatArray, ...] | None = None
    """G arrays of [T]; None when beta is 0."""

    @property
    def num_tokens(self) -> int:
        """Tokens of the shared-prefix row: P plus the sum of T."""
        return len(self.group.prompt_ids) + sum(len(c.token_ids) for c in self.group.completions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """One evaluated question: what the policy said, and what the tools made of it."""

    id: str
    model_output: str
    """The extracted answer, which the official MMAU script reads."""
    model_output_raw: str
    finish_reason: str
    """``stop``, ``length`` or ``error``."""
    num_tokens: int = 0
    policy_version: int | None = None
    """Of the weights that answered."""
    error: str | None = None
    samples: tuple[str, ...] = ()
    """Whole texts of all samples if several were asked for; the outputs above are the first's."""
