"""A score with what is needed to trust it: interval, table by task, version, what was missing."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict
from scipy.stats import binomtest

from keomni_rl.data.mmau import DIFFICULTIES, TASKS
from keomni_rl.evaluation.verdict import string_match
from keomni_rl.rewards.format import format_reward
from keomni_rl.types import Prediction, Prompt, Question


class Share(BaseModel):
    """A share of right answers with what its size says of it."""

    model_config = ConfigDict(frozen=True)

    accuracy: float
    stderr: float
    """Binomial standard error."""
    interval95: tuple[float, float]
    """Wilson's interval."""
    n: int

    @classmethod
    def of(cls, correct: int, n: int) -> "Share":
        """The share of ``correct`` in ``n`` > 0."""
        share = correct / n
        interval = binomtest(correct, n).proportion_ci(0.95, method="wilson")
        return cls(
            accuracy=share,
            stderr=math.sqrt(share * (1 - share) / n),
            interval95=(float(interval.low), float(interval.high)),
            n=n,
        )


class Summary(Share):
    """The result of one evaluation; the contents of ``summary.json``."""

    format: float
    """Share of completions in the asked form."""
    by_task: dict[str, Share]
    by_difficulty: dict[str, Share]
    missing: int
    """Questions without a prediction, counted as wrong."""
    failed: int
    """Questions whose evaluation failed, counted as wrong."""
    truncated: int
    """Completions cut off at the token limit."""
    mmau_version: str
    policy_version: int
    temperature: float


def summarise(
    questions: Sequence[Question],
    predictions: Mapping[str, Prediction],
    *,
    think: bool,
    mmau_version: str,
    policy_version: int,
    temperature: float,
) -> Summary:
    """Judge every question; one without a prediction is wrong, never left out.

    Args:
        questions: all that were to be answered, with answers.
        predictions: by question id.
        think: whether a think was asked for.
        mmau_version: of the questions.
        policy_version: of the weights that answered.
        temperature: of sampling, 0 for greedy.
    """
    found = {q.id: predictions[q.id] for q in questions if q.id in predictions}
    correct = {
        q.id
        for q in questions
        if q.id in found and string_match(q.answer or "", found[q.id].model_output, q.choices)
    }

    def share(where: Callable[[Question], bool]) -> Share:
        chosen = [q for q in questions if where(q)]
        return Share.of(sum(q.id in correct for q in chosen), len(chosen))

    def by(key: str, values: Sequence[str]) -> dict[str, Share]:
        present = [v for v in values if any(q.extra[key] == v for q in questions)]
        return {v: share(lambda q, v=v: q.extra[key] == v) for v in present}  # type: ignore[misc]

    formed = sum(
        format_reward(found[q.id].model_output_raw, Prompt(question=q, text=""), think=think)
        for q in questions
        if q.id in found
    )
    return Summary(
        **share(lambda _: True).model_dump(),
        format=formed / len(questions),
        by_task=by("task", TASKS),
        by_difficulty=by("difficulty", DIFFICULTIES),
        missing=len(questions) - len(found),
        failed=sum(p.error is not None for p in found.values()),
        truncated=sum(p.finish_reason == "length" for p in found.values()),
        mmau_version=mmau_version,
        policy_version=policy_version,
        temperature=temperature,
    )


def write_summary(path: Path, summary: Summary) -> None:
    """Write ``summary.json``."""
    path.write_text(json.dumps(summary.model_dump(), indent=2) + "\n")


def read_summary(path: Path) -> Summary:
    """Read ``summary.json``."""
    return Summary.model_validate_json(path.read_text())
