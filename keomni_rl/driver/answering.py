"""Puts questions to a pool of evaluators, keeps every answer as it comes, and judges them all.

Evaluation during training and the ``evaluate`` command both come through here. Questions go out
one by one to the evaluator with the least to do; what a dead one had goes to another, and what a
slow one takes too long over goes to a second one too.
"""

import asyncio
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import ray

from keomni_rl.actors.audio import Clips
from keomni_rl.actors.pool import ActorPool
from keomni_rl.config.schema import AnsweringConfig, PromptConfig
from keomni_rl.data.mmau import find_version, write_predictions
from keomni_rl.data.prompts import make_prompt
from keomni_rl.engines.specs import Sampling
from keomni_rl.errors import DataError, EngineError, LostWorkError
from keomni_rl.evaluation.predictions import parse_prediction
from keomni_rl.evaluation.summary import Summary, summarise, write_summary
from keomni_rl.observe.sinks import read_lines, replace_lines
from keomni_rl.types import GroupKey, Prediction, Question

log = logging.getLogger(__name__)
SLOW_S = 20.0
"""A question that takes longer, at least, is given to a second evaluator too."""
OnAnswer = Callable[[int], None]


@dataclass(eq=False)
class Answering:
    """One set of questions for one set of weights.

    Its folder gets ``predictions.jsonl`` while answers come (what it holds already is not asked
    again), then ``predictions.json`` in MMAU's form and ``summary.json``.
    """

    pool: ActorPool[Prediction]
    audio: Clips
    config: AnsweringConfig
    prompt: PromptConfig
    questions: Sequence[Question]
    folder: Path
    run_id: str
    num_evaluators: int
    answered: dict[str, Prediction] = field(default_factory=dict)
    """What the folder holds already, by question id, see `read_answers`; the others are added."""
    step: int | None = None
    """Optimizer steps behind the weights; None for a model that does not change."""
    version: int | None = None
    """Policy version that has to answer."""
    on_answer: OnAnswer = lambda _: None
    """Told of the number of questions answered so far."""

    async def run(self) -> Summary:
        """Answer all that is not answered yet, and judge."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.on_answer(len(self.answered))
        await self._answer_all()
        write_predictions(self.folder / "predictions.json", self.questions, self.answered)
        summary = summarise(
            self.questions,
            self.answered,
            think=self.prompt.thinks,
            has_tags=self.prompt.has_tags,
            mmau_version=find_version(self.questions),
            policy_version=self.step,
            temperature=self.config.temperature,
            think_max_words=self.prompt.measured_words,
            settings={
                "prompt": self.prompt.model_dump(),
                "sampling": self.config.model_dump(
                    include={"temperature", "top_p", "top_k", "samples", "seed", "max_new_tokens"}
                ),
            },
        )
        write_summary(self.folder / "summary.json", summary)
        return summary

    async def _answer_all(self) -> None:
        turns = asyncio.Semaphore(self.config.max_in_flight * self.num_evaluators)
        path = self.folder / "predictions.jsonl"
        with path.open("a", encoding="utf-8", errors="replace") as file:  # of error messages

            async def answer(index: int, question: Question) -> None:
                async with turns:
                    prediction = await self._answer(index, question)
                self.answered[question.id] = prediction
                file.write(json.dumps(asdict(prediction), ensure_ascii=False) + "\n")
                file.flush()
                self.on_answer(len(self.answered))

            async with asyncio.TaskGroup() as group:
                for index, question in enumerate(self.questions):
                    if question.id not in self.answered:
                        group.create_task(answer(index, question))

    async def _answer(self, index: int, question: Question) -> Prediction:
        """One question; what fails is recorded with its error and counts as not answered."""
        try:
            prediction = await self._ask(index, question)
            if self.version is not None and prediction.policy_version != self.version:
                raise EngineError(
                    f"answered by policy version {prediction.policy_version} instead of "
                    f"{self.version}: the evaluator was lost and its replacement holds newer "
                    "weights"
                )
        except (ray.exceptions.RayTaskError, DataError, EngineError, LostWorkError) as error:
            log.warning("question %s could not be evaluated: %s", question.id, error)
            return Prediction(
                id=question.id,
                model_output="",
                model_output_raw="",
                finish_reason="error",
                error=str(error).splitlines()[-1],
            )
        return prediction

    async def _ask(self, index: int, question: Question) -> Prediction:
        prompt = make_prompt(question, self.prompt, is_evaluation=True)
        clip, num_audio_tokens = await self.audio.load(question.audio)
        sampling = Sampling(
            num_completions=self.config.samples,
            max_new_tokens=self.config.max_new_tokens,
            temperature=self.config.temperature,
            top_p=self.config.top_p,
            top_k=self.config.top_k,
            seed=self.config.seed + index * self.config.samples,  # vLLM counts on from it
        )
        return await self.pool.run(
            lambda actor, attempt: actor.answer.remote(
                GroupKey(self.run_id, index, attempt), prompt, clip, sampling
            ),
            cost=num_audio_tokens + self.config.samples * self.config.max_new_tokens,
            name=f"question {question.id!r}",
        )


def read_answers(folder: Path) -> dict[str, Prediction]:
    """Predictions that a folder holds by question id; those that failed are dropped from it."""
    path = folder / "predictions.jsonl"
    kept = [line for line in read_lines(path) if line.get("error") is None]
    if path.exists():
        replace_lines(path, kept)
    predictions = (
        parse_prediction(line, f"{path}, line {n}") for n, line in enumerate(kept, start=1)
    )
    return {prediction.id: prediction for prediction in predictions}
