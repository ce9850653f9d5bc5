"""Single questions to a model, without a cluster: one vLLM engine here, greedy answers."""

import asyncio
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from keomni_rl.config.schema import PromptConfig
from keomni_rl.data.audio import check_header, load_clip
from keomni_rl.data.json_lines import read_json_lines
from keomni_rl.data.prompts import make_prompt, split_completion
from keomni_rl.data.question_rows import MAX_LINE_BYTES
from keomni_rl.data.questions import parse_question
from keomni_rl.driver.lone_engine import lone_engine_spec, read_printed, start_lone_engine
from keomni_rl.driver.prompt_room import num_prompt_tokens
from keomni_rl.engines.specs import EngineSpec, Sampling
from keomni_rl.errors import DataError, EngineError
from keomni_rl.models.family import Family, find_family
from keomni_rl.types import FinishReason, GroupKey, Prompt, Question

if TYPE_CHECKING:
    from keomni_rl.engines.rollout import Reply

MAX_IN_FLIGHT = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class InferSpec:
    """How the questions are put."""

    model: Path
    """Model folder."""
    thinks: bool = True
    max_new_tokens: int = 256
    gpus: int = 0
    """Of the engine; 0 runs on CPU."""
    num_threads: int = 1
    """Compute threads on CPU."""


def asked_prompt(question: Question, *, thinks: bool) -> Prompt:
    """The question as in training; an open one that needs no think is asked as it is.

    Raises:
        DataError: it holds reserved text.
    """
    quick = "no_think" if question.choices else "direct"
    return make_prompt(question, PromptConfig(style="think" if thinks else quick))


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the model said to one question."""

    question: Question
    think: str
    answer: str
    """What is in the answer tags; without them, all that was said."""
    text: str
    is_cut_off: bool
    """Whether the token limit ended it."""


def read_asked(path: Path) -> list[Question]:
    """Questions of a JSONL file in the training format, whose answers may be left out.

    Raises:
        DataError: no such file, or a line that is no question.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file of questions; correct --questions")
    folder = path.resolve().parent
    rows = read_json_lines(path, "one question a line", max_line_bytes=MAX_LINE_BYTES)
    questions = [_parse_asked(row, folder, n, f"{path}, line {n}") for n, row in rows]
    if not questions:
        raise DataError(f"{path}: holds no questions")
    return questions


def _parse_asked(row: Any, folder: Path, number: int, where: str) -> Question:
    if isinstance(row, dict) and row.get("answer") is None:
        choices = row.get("choices") or []
        stand_in = choices[0] if isinstance(choices, list) and choices else "unknown"
        filled = {"id": str(number), **row, "choices": choices, "answer": stand_in}
        return replace(parse_question(filled, folder, where, allow_open=True), answer=None)
    return parse_question(row, folder, where, allow_open=True)


def ask(
    spec: InferSpec,
    questions: Sequence[Question],
    on_answer: Callable[[Answer], object],
    console: Console,
) -> None:
    """Answer all questions with one engine.

    Args:
        spec: the model, and how it is asked.
        questions: what it is asked.
        on_answer: told of each answer, in the order of the questions.
        console: told what takes time.

    Raises:
        CheckpointError: no such model, or one of no known family.
        DataError: a clip cannot be read or is longer than the model hears.
        ConfigError: vLLM does not start.
        EngineError: it failed later.
    """
    family = find_family(spec.model)
    prompts = [asked_prompt(question, thinks=spec.thinks) for question in questions]
    longest = max(_prompt_lengths(family, spec.model, prompts))
    engine = lone_engine_spec(
        spec.model,
        max_model_len=longest + spec.max_new_tokens,
        max_num_seqs=min(MAX_IN_FLIGHT, len(questions)),
        gpus=spec.gpus,
        num_threads=spec.num_threads,
    )
    console.print(f"starting vLLM on {'a GPU' if spec.gpus else 'the CPU'}", style="dim")
    asyncio.run(_answer_all(engine, family, prompts, spec.max_new_tokens, on_answer))


def _prompt_lengths(family: Family, model: Path, prompts: Sequence[Prompt]) -> Iterator[int]:
    """Tokens of each prompt, from the headers of the sound files alone."""
    processor = family.load_processor(model)
    for prompt in prompts:
        info = check_header(prompt.question.audio, max_audio_s=family.longest_clip_s)
        yield num_prompt_tokens(family, processor, prompt.text, info.duration)


async def _answer_all(
    spec: EngineSpec,
    family: Family,
    prompts: Sequence[Prompt],
    max_new_tokens: int,
    on_answer: Callable[[Answer], object],
) -> None:
    greedy = Sampling(num_completions=1, max_new_tokens=max_new_tokens, temperature=0.0)
    window_s = family.longest_clip_s
    turns = asyncio.Semaphore(MAX_IN_FLIGHT)

    async def answer(index: int, prompt: Prompt) -> Answer:
        async with turns:
            clip = await asyncio.to_thread(
                load_clip, prompt.question.audio, max_audio_s=window_s, window_s=window_s
            )
            (reply,) = await engine.answer(GroupKey("infer", index), prompt, clip, greedy)
        return _to_answer(prompt.question, reply)

    with tempfile.TemporaryFile("a+b") as printed:
        engine = start_lone_engine(spec, printed)
        try:
            tasks = [asyncio.create_task(answer(i, prompt)) for i, prompt in enumerate(prompts)]
            for task in tasks:
                on_answer(await task)
        except EngineError as error:
            error.add_note(read_printed(printed))
            raise
        finally:
            engine.shutdown()


def _to_answer(question: Question, reply: "Reply") -> Answer:
    think, answer = split_completion(reply.text)
    return Answer(
        question=question,
        think=think,
        answer=reply.text.strip() if answer is None else answer,
        text=reply.text,
        is_cut_off=reply.finish_reason == FinishReason.LENGTH,
    )
