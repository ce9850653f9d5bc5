"""One model of the playground with its engine: a question and a clip become an answer in parts."""

import asyncio
import itertools
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from keomni_rl.data.prompts import split_completion, split_so_far
from keomni_rl.driver.infer import asked_prompt
from keomni_rl.driver.lone_engine import lone_engine_spec, start_lone_engine
from keomni_rl.driver.prompt_room import num_prompt_tokens
from keomni_rl.engines.rollout import Part, RolloutEngine
from keomni_rl.engines.specs import Sampling
from keomni_rl.errors import DataError
from keomni_rl.evaluation.verdict import chosen_position
from keomni_rl.models.family import find_family
from keomni_rl.types import Clip, FinishReason, GroupKey, Prompt, Question

TEXT_TOKENS = 1024
"""Room for a question and its choices."""
ANSWERS_AT_ONCE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What engines run on."""

    gpus: int
    """Of each engine; 0 runs on CPU."""
    num_threads: int
    """Compute threads of each engine on CPU."""
    num_engines: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """An answer as far as it has come."""

    think: str
    answer: str
    """What is in the answer tags; without them, all that was said."""
    num_tokens: int
    seconds: float
    """Since the engine was asked."""
    finish_reason: FinishReason | None
    """None while it goes on."""
    choice: int | None
    """Which of the choices a finished answer names; None if it names none, or several."""


class Speaker:
    """A model that answers.

    Args:
        name: to call it by.
        model: its folder.
        max_audio_s: the longest clip, if the model hears as much.
        max_new_tokens: an answer is cut off here.
    """

    def __init__(self, name: str, model: Path, *, max_audio_s: float, max_new_tokens: int) -> None:
        self.name = name
        self._model = model
        self._family = find_family(model)
        self._processor = self._family.load_processor(model)
        self.max_audio_s = min(max_audio_s, self._family.longest_clip_s)
        self.window_s = self._family.longest_clip_s
        self._max_new_tokens = max_new_tokens
        around = num_prompt_tokens(self._family, self._processor, "", self.max_audio_s)
        self._max_model_len = around + TEXT_TOKENS + max_new_tokens
        self._numbers = itertools.count()
        self._turns = asyncio.Semaphore(ANSWERS_AT_ONCE)
        self._engine: RolloutEngine | None = None

    def start(self, machine: Machine, printed: IO[bytes]) -> None:
        """Start the engine, which may take minutes.

        Raises:
            ConfigError: vLLM does not start.
        """
        spec = lone_engine_spec(
            self._model,
            max_model_len=self._max_model_len,
            max_num_seqs=ANSWERS_AT_ONCE,
            gpus=machine.gpus,
            num_threads=machine.num_threads,
            num_engines=machine.num_engines,
        )
        self._engine = start_lone_engine(spec, printed)

    def shutdown(self) -> None:
        """End the engine's process, if there is one."""
        if self._engine:
            self._engine.shutdown()

    @property
    def is_busy(self) -> bool:
        """Whether one more question would have to wait."""
        return self._turns.locked()

    def prompt(self, question: Question, *, thinks: bool, audio_s: float) -> Prompt:
        """What the model reads.

        Raises:
            DataError: the question holds reserved text, or is too long.
        """
        prompt = asked_prompt(question, thinks=thinks)
        num_tokens = num_prompt_tokens(self._family, self._processor, prompt.text, audio_s)
        if (over := num_tokens + self._max_new_tokens - self._max_model_len) > 0:
            raise DataError(
                f"the question with its choices is {over} tokens too long for {self.name}; "
                "shorten it"
            )
        return prompt

    async def answer(
        self, prompt: Prompt, clip: Clip, *, temperature: float
    ) -> AsyncGenerator[Said, None]:
        """Answer once; the last thing said is the whole answer. Who stops listening ends it.

        Raises:
            EngineError: the engine died.
        """
        assert self._engine is not None
        key = GroupKey("playground", next(self._numbers))
        sampling = Sampling(
            num_completions=1, max_new_tokens=self._max_new_tokens, temperature=temperature
        )
        async with self._turns, aclosing(self._engine.stream(key, prompt, clip, sampling)) as parts:
            start = time.monotonic()
            async for part in parts:
                yield _said(part, prompt.question, time.monotonic() - start)


def _said(part: Part, question: Question, seconds: float) -> Said:
    is_finished = part.finish_reason is not None
    think, answer = (split_completion if is_finished else split_so_far)(part.text)
    if answer is None:
        # An answer without tags is all that was said; what begins with one may yet get its tags.
        begins_with_tag = part.text.lstrip().startswith("<")
        answer = "" if begins_with_tag and not is_finished else part.text.strip()
    return Said(
        think=think,
        answer=answer,
        num_tokens=part.num_tokens,
        seconds=seconds,
        finish_reason=part.finish_reason,
        choice=chosen_position(answer, question.choices) if is_finished else None,
    )
