"""Evaluation of policy versions in the background of training."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from keomni_rl.config.schema import EvaluationConfig
from keomni_rl.driver.answering import Answering
from keomni_rl.driver.run import Run
from keomni_rl.evaluation.summary import Summary
from keomni_rl.types import Question


class Evaluation:
    """Evaluates snapshots, one at a time; the next one waits for the one before it."""

    def __init__(self, run: Run, config: EvaluationConfig, questions: Sequence[Question]) -> None:
        self._run = run
        self._config = config
        self._questions = questions
        self._task: asyncio.Task[Summary] | None = None
        self._finished: list[Summary] = []

    def is_due(self, step: int) -> bool:
        """Whether the policy after ``step`` steps is to be evaluated and has not been."""
        every = self._config.every_steps
        is_end = step in (0, self._run.config.train.max_steps)
        is_wanted = is_end or (every > 0 and step % every == 0)
        return is_wanted and not (self._folder(step) / "summary.json").exists()

    async def start(self, version: int) -> None:
        """Give the evaluators the learner's weights and let them begin."""
        await self.finish()
        await self._run.publish("evaluator")
        assert self._run.evaluators is not None
        answering = Answering(
            pool=self._run.evaluators,
            audio=self._run.audio,
            config=self._config,
            prompt=self._run.config.prompt,
            questions=self._questions,
            folder=self._folder(version),
            run_id=f"{self._run.id}-eval{version}",
            num_evaluators=self._run.config.placement.evaluator.actors,
            version=version,
        )
        self._task = asyncio.create_task(answering.run())

    def take_finished(self) -> dict[str, float]:
        """Metrics of the latest evaluation that has ended since the last call; none otherwise."""
        if self._task and self._task.done():
            self._finished.append(self._task.result())
            self._task = None
        return summary_metrics(self._finished.pop()) if self._finished else {}

    async def finish(self) -> None:
        """Wait for the evaluation that is under way."""
        if self._task:
            self._finished.append(await self._task)
            self._task = None

    def _folder(self, version: int) -> Path:
        return self._run.config.run_dir / "evaluation" / f"step_{version:06d}"


def summary_metrics(summary: Summary) -> dict[str, float]:
    """A summary's figures as metrics."""
    metrics = {
        "evaluation/accuracy": summary.accuracy,
        "evaluation/format": summary.format,
        "evaluation/policy_version": summary.policy_version,
    } | {f"evaluation/{task}_accuracy": share.accuracy for task, share in summary.by_task.items()}
    return {name: float(value) for name, value in metrics.items() if value is not None}
