"""Evaluation of policy versions in the background of training."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keomni_rl.config.schema import EvaluationConfig
from keomni_rl.driver.answering import Answering, read_answers
from keomni_rl.driver.run import Run
from keomni_rl.driver.run_dir import evaluation_folders
from keomni_rl.evaluation.summary import Summary, read_summary
from keomni_rl.observe.sinks import write_event
from keomni_rl.storage.manifest import step_name
from keomni_rl.types import Question


class Evaluation:
    """Evaluates snapshots, one at a time; the next one waits for the one before it."""

    def __init__(self, run: Run, config: EvaluationConfig, questions: Sequence[Question]) -> None:
        self._run = run
        self._config = config
        self._questions = questions
        self._task: asyncio.Task[Summary] | None = None
        self.answering: Answering | None = None
        """The evaluation under way, or else the last one."""
        # A run may have been stopped between an evaluation's end and its place in the metrics.
        self._finished = read_evaluations(run.config.folder)
        self.last = self._finished[-1] if self._finished else None
        """Of the last one that ended."""

    def is_due(self, step: int) -> bool:
        """Whether the policy after ``step`` steps is to be evaluated and has not been."""
        every = self._config.every_steps
        is_end = step in (0, self._run.config.train.max_steps)
        is_wanted = is_end or (every > 0 and step % every == 0)
        return is_wanted and not has_summary(self._folder(step))

    def broken_off(self, before: int) -> list[int]:
        """Steps before one whose policies' evaluations were begun and have not ended."""
        folders = evaluation_folders(self._run.config.folder)
        return [step for step, path in folders.items() if step < before and not has_summary(path)]

    async def start(self) -> None:
        """Give the evaluators the learner's weights and let them begin."""
        await self.finish()
        await self._run.publish("evaluator")
        assert self._run.evaluators is not None
        self.answering = Answering(
            pool=self._run.evaluators,
            audio=self._run.audio,
            config=self._config,
            prompt=self._run.config.prompt,
            questions=self._questions,
            folder=self._folder(self._run.step),
            run_id=f"{self._run.id}-evaluation-{self._run.version}",
            num_evaluators=self._run.config.placement.evaluator.actors,
            answered=read_answers(self._folder(self._run.step)),
            step=self._run.step,
            version=self._run.version,
        )
        self._task = asyncio.create_task(self._answer(self.answering))

    async def _answer(self, answering: Answering) -> Summary:
        policy = {"step": answering.step, "version": answering.version}
        questions = len(answering.questions)
        answered = len(answering.answered)
        self._tell("evaluation start", answered=answered, questions=questions, **policy)
        summary = await answering.run()
        self._tell("evaluation end", accuracy=summary.accuracy, n=summary.n, **policy)
        self.last = summary
        return summary

    def _tell(self, event: str, **details: Any) -> None:
        write_event(self._run.config.folder, event, **details)

    def take_finished(self) -> dict[int, dict[str, float]]:
        """Figures of the evaluations that have ended since the last call, by policy version.

        The first call gives those of a run that is resumed once more.
        """
        if self._task and self._task.done():
            self._finished.append(self._task.result())
            self._task = None
        taken, self._finished = self._finished, []
        return {s.policy_version: figures(s) for s in taken if s.policy_version is not None}

    async def finish(self) -> None:
        """Wait for the evaluation that is under way."""
        if self._task:
            self._finished.append(await self._task)
            self._task = None

    async def cancel(self) -> None:
        """Break off the evaluation that is under way; the answers so far are in its folder."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def _folder(self, version: int) -> Path:
        return self._run.config.folder / "evaluation" / step_name(version)


def has_summary(folder: Path) -> bool:
    """Whether the evaluation in a folder has ended."""
    return (folder / "summary.json").exists()


def read_evaluations(run_dir: Path) -> list[Summary]:
    """All finished evaluations of a run, by policy version."""
    return [read_summary(p) for p in sorted((run_dir / "evaluation").glob("step_*/summary.json"))]


def figures(summary: Summary) -> dict[str, float]:
    """What a summary adds to a run's metrics: shares of all questions, and of those of a task."""
    shares = {"evaluation/accuracy": summary.accuracy, "evaluation/format": summary.format}
    shares |= {f"evaluation/{task}_accuracy": of.accuracy for task, of in summary.by_task.items()}
    return {name: share for name, share in shares.items() if share is not None}
