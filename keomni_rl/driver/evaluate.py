"""Evaluation of a policy version by the evaluator pool, in the background of training."""

import asyncio
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import ray

from keomni_rl.config.schema import EvaluationConfig
from keomni_rl.data.mmau import detect_version, write_predictions
from keomni_rl.data.prompts import make_prompt
from keomni_rl.driver.run import Run
from keomni_rl.engines.specs import Sampling
from keomni_rl.errors import DataError, EngineError
from keomni_rl.evaluation.summary import Summary, summarise, write_summary
from keomni_rl.observe.sinks import read_lines
from keomni_rl.types import GroupKey, Prediction, Prompt, Question

log = logging.getLogger(__name__)


class Evaluation:
    """Evaluates snapshots, one at a time; the next one waits for the one before it."""

    def __init__(self, run: Run, config: EvaluationConfig, questions: Sequence[Question]) -> None:
        self._run = run
        self._config = config
        self._questions = questions
        self._task: asyncio.Task[Summary] | None = None

    def is_due(self, step: int) -> bool:
        """Whether the policy after ``step`` steps is to be evaluated and has not been."""
        every = self._config.every_steps
        is_end = step in (0, self._run.config.train.max_steps)
        is_wanted = is_end or (every > 0 and step % every == 0)
        return is_wanted and not (self._folder(step) / "summary.json").exists()

    async def start(self, version: int) -> None:
        """Give the evaluators the learner's weights and let them begin."""
        if self._task:
            await self._task
        await self._run.publish("evaluator")
        self._task = asyncio.create_task(self._evaluate(version))

    def take_finished(self) -> dict[str, float]:
        """Metrics of an evaluation that has ended since the last call; none otherwise."""
        if self._task is None or not self._task.done():
            return {}
        summary = self._task.result()
        self._task = None
        return summary_metrics(summary)

    async def finish(self) -> None:
        """Wait for the last evaluation."""
        if self._task:
            await self._task

    def _folder(self, version: int) -> Path:
        return self._run.config.run_dir / "evaluation" / f"step_{version:06d}"

    async def _evaluate(self, version: int) -> Summary:
        folder = self._folder(version)
        folder.mkdir(parents=True, exist_ok=True)
        answered = {p["id"]: Prediction(**p) for p in read_lines(folder / "predictions.jsonl")}
        await self._answer_all(folder, version, answered)
        write_predictions(folder / "predictions.json", self._questions, answered)
        summary = summarise(
            self._questions,
            answered,
            think=self._run.config.data.think,
            mmau_version=detect_version(q.id for q in self._questions),
            policy_version=version,
            temperature=self._config.temperature,
        )
        write_summary(folder / "summary.json", summary)
        return summary

    async def _answer_all(
        self, folder: Path, version: int, answered: dict[str, Prediction]
    ) -> None:
        assert self._run.evaluators is not None
        limit = self._config.max_in_flight * self._run.config.placement.evaluator.actors
        turns = asyncio.Semaphore(limit)
        with (folder / "predictions.jsonl").open("a", encoding="utf-8") as file:

            async def answer(index: int, question: Question) -> None:
                async with turns:
                    prediction = await self._answer(version, index, question)
                answered[question.id] = prediction
                file.write(json.dumps(asdict(prediction), ensure_ascii=False) + "\n")
                file.flush()

            async with asyncio.TaskGroup() as group:
                for index, question in enumerate(self._questions):
                    if question.id not in answered:
                        group.create_task(answer(index, question))

    async def _answer(self, version: int, index: int, question: Question) -> Prediction:
        """One question; what fails is recorded with its error and counts as not answered."""
        config = self._run.config
        try:
            prompt: Prompt = make_prompt(
                question, think=config.data.think, think_max_words=config.data.think_max_words
            )
            clip = self._run.audio.load.remote(question.audio)
            sampling = Sampling(
                num_completions=1,
                max_new_tokens=self._config.max_new_tokens,
                temperature=self._config.temperature,
                seed=index,
            )
            assert self._run.evaluators is not None
            prediction = await self._run.evaluators.run(
                lambda actor, attempt: actor.answer.remote(
                    GroupKey(f"{self._run.id}-eval{version}", index, attempt),
                    prompt,
                    clip,
                    sampling,
                ),
                cost=self._config.max_new_tokens,
            )
            if prediction.policy_version != version:
                raise EngineError(
                    f"answered by policy version {prediction.policy_version} instead of {version}: "
                    "the evaluator was lost and its replacement holds newer weights"
                )
            return prediction
        except (ray.exceptions.RayTaskError, DataError, EngineError) as error:
            log.warning("question %s could not be evaluated: %s", question.id, error)
            return Prediction(
                id=question.id,
                model_output="",
                model_output_raw="",
                finish_reason="error",
                error=str(error).splitlines()[-1],
            )


def summary_metrics(summary: Summary) -> dict[str, float]:
    """A summary's figures as metrics."""
    metrics = {
        "evaluation/accuracy": summary.accuracy,
        "evaluation/format": summary.format,
        "evaluation/policy_version": float(summary.policy_version),
    }
    for task, share in summary.by_task.items():
        metrics[f"evaluation/{task}_accuracy"] = share.accuracy
    return metrics
