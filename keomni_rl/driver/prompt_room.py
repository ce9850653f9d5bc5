"""Whether every prompt leaves room for its completion: told before a run starts, not in its middle.

Most prompts are short enough by bounds that cost little: no clip is longer than allowed, plain text
has no more tokens than characters, and no more than its words have one by one. Only where these
leave a doubt is a prompt tokenised with its own clip's length.
"""

import logging
import math
from collections.abc import Callable, Iterable
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

from keomni_rl.data.audio import HOP, SAMPLE_RATE_HZ, TAIL_FRAMES, check_header
from keomni_rl.errors import ConfigError
from keomni_rl.models.family import Family, find_family
from keomni_rl.types import Prompt

log = logging.getLogger(__name__)
SEAM = 8
"""Tokens by which a text may differ when it stands in its chat template."""
NUM_MEASURED = 10_000
"""Prompts of a set that are tokenised, and whose clip's header is read."""


def num_prompt_tokens(family: Family, processor: Any, text: str, audio_s: float) -> int:
    """Tokens that a prompt takes with a clip of some seconds, at most."""
    frames = math.ceil(audio_s * SAMPLE_RATE_HZ / HOP) + TAIL_FRAMES
    # One more: a resampled clip may come out a sample longer.
    return len(family.prompt_ids(processor, text, frames)) + 1


class PromptRoom:
    """Measures prompts for one model.

    Args:
        model: its folder.
        max_audio_s: the longest clip allowed.
        max_model_len: tokens that an engine holds of a prompt and its completion.
    """

    def __init__(self, model: Path, *, max_audio_s: float, max_model_len: int) -> None:
        self._family = find_family(model)
        self._processor = self._family.load_processor(model)
        self._max_audio_s = max_audio_s
        self._max_model_len = max_model_len
        around = num_prompt_tokens(self._family, self._processor, "", max_audio_s)
        self._left_for_text = max_model_len - around - SEAM
        self._num_tokens = cache(lambda text: len(self._processor.tokenizer(text)["input_ids"]))

    def check(
        self,
        texts: Iterable[tuple[int, str]],
        prompt_at: Callable[[int], Prompt],
        *,
        max_new_tokens: int,
        setting: str,
    ) -> None:
        """Look at all prompts of a set.

        Args:
            texts: numbers of the prompts, and what they read after the audio.
            prompt_at: the prompt of such a number.
            max_new_tokens: of a completion.
            setting: key of ``max_new_tokens``, for the advice.

        Raises:
            ConfigError: a prompt and its completion take more than the engine holds.
            DataError: the clip of a long prompt cannot be read.
        """
        room = self._left_for_text - max_new_tokens
        in_doubt = (number for number, text in texts if not self._is_short(text, room))
        for number in islice(in_doubt, NUM_MEASURED):
            self._measure(prompt_at(number), max_new_tokens, setting)
        if next(in_doubt, None) is not None:
            log.warning(
                "more than %d prompts could be too long for engine.max_model_len: %d with clips of "
                "%g s; these fit, the others were not looked at: lower max_audio_s to what the "
                "clips last, or raise engine.max_model_len",
                *(NUM_MEASURED, self._max_model_len, self._max_audio_s),
            )

    def _is_short(self, text: str, room: int) -> bool:
        return (text.isascii() and len(text) <= room) or self._most_tokens(text) <= room

    def _most_tokens(self, text: str) -> int:
        first, *others = text.split(" ")
        return self._num_tokens(first) + sum(self._num_tokens(" " + word) for word in others)

    def _measure(self, prompt: Prompt, max_new_tokens: int, setting: str) -> None:
        info = check_header(prompt.question.audio, max_audio_s=self._max_audio_s)
        num_tokens = num_prompt_tokens(self._family, self._processor, prompt.text, info.duration)
        if num_tokens + max_new_tokens > self._max_model_len:
            raise ConfigError(
                f"question {prompt.id!r}: its prompt takes {num_tokens} tokens with "
                f"{info.duration:.1f} s of audio, and {setting}: {max_new_tokens} more, over "
                f"engine.max_model_len: {self._max_model_len}; raise it or leave the question out"
            )
