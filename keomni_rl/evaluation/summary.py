"""A score with what is needed to trust it: interval, tables, version, what was missing."""

import contextlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from pydantic import ConfigDict, Field, ValidationError

from keomni_rl.data.mmau import DIFFICULTIES, TASKS
from keomni_rl.data.prompts import split_completion
from keomni_rl.errors import DataError
from keomni_rl.evaluation.judge import (
    alphanumeric,
    has_answers,
    known_predictions,
    right_ids,
    strict,
)
from keomni_rl.evaluation.position import PositionBias, position_bias
from keomni_rl.evaluation.samples import SampleFigures, sample_figures
from keomni_rl.evaluation.shares import Share
from keomni_rl.evaluation.think import ThinkLength, think_length
from keomni_rl.rewards.format import format_reward
from keomni_rl.types import Prediction, Prompt, Question


class Summary(Share):
    """The result of one evaluation; the contents of ``summary.json``.

    Its own share is the official verdict over all questions. Where several samples a question were
    asked for, all but `samples` is about the first.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: float | None
    """Share of questions answered in the asked form, and nothing around it; None where the whole
    completions are not known, or no tags were asked for."""
    by_task: dict[str, Share]
    by_difficulty: dict[str, Share]
    by_sub_category: dict[str, Share] = Field(default_factory=dict)
    other_scorers: dict[str, Share] = Field(default_factory=dict)
    """``strict`` and ``alphanumeric``: how other tools would score the same predictions."""
    position: PositionBias | None = None
    think: ThinkLength | None = None
    """None where none was asked for or the whole completions are not known."""
    no_answer: float | None = None
    """Share of completions without answer tags; None as for `format`."""
    samples: SampleFigures | None = None
    """None with one sample a question, or without answers."""
    missing: int
    """Questions without a prediction, counted as wrong."""
    failed: int
    """Questions whose evaluation failed, counted as wrong."""
    truncated: int | None
    """Completions cut off at the token limit; None where the predictions do not say."""
    duplicated_options: int = 0
    """Questions that list a choice twice."""
    mmau_version: str
    policy_version: int | None
    """Of the weights that answered; None where the predictions do not say."""
    temperature: float | None
    """Of sampling, 0 for greedy; None where it is not known."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """How else the answers were asked for and sampled."""


def summarise(
    questions: Sequence[Question],
    predictions: Mapping[str, Prediction],
    *,
    think: bool,
    mmau_version: str,
    policy_version: int | None,
    temperature: float | None,
    think_max_words: int = 0,
    has_tags: bool = True,
    settings: Mapping[str, Any] | None = None,
) -> Summary:
    """Judge every question; one without a prediction is wrong, never left out.

    Args:
        questions: all that were to be answered; with answers, or none of them with one.
        predictions: by question id.
        think: whether a think was asked for.
        mmau_version: of the questions.
        policy_version: of the weights that answered.
        temperature: of sampling, 0 for greedy.
        think_max_words: the limit that the prompt named; 0 if it named none.
        has_tags: whether answer tags were asked for.
        settings: what else the result depends on, kept as it is.

    Raises:
        DataError: predictions for other questions, or only some questions have an answer.
    """
    found = known_predictions(questions, predictions)
    is_judged = has_answers(questions)
    right = right_ids(questions, found) if is_judged else None
    is_whole = all(p.model_output_raw or not p.model_output for p in found.values())
    whole = [p.model_output_raw for p in found.values() if p.error is None] if is_whole else []
    scorers = {"strict": strict} | ({"alphanumeric": alphanumeric} if is_whole and has_tags else {})
    return Summary(
        **_share(questions, right).model_dump(),
        format=_format(questions, found, think) if is_whole and has_tags else None,
        by_task=_by("task", questions, right, TASKS),
        by_difficulty=_by("difficulty", questions, right, DIFFICULTIES),
        by_sub_category=_by("sub-category", questions, right),
        other_scorers={
            name: _share(questions, right_ids(questions, found, judge))
            for name, judge in scorers.items()
            if is_judged
        },
        position=position_bias(questions, found, right),
        think=think_length(whole, think_max_words) if whole and think else None,
        no_answer=_no_answer(whole) if whole and has_tags else None,
        samples=sample_figures(questions, found) if is_judged else None,
        missing=len(questions) - len(found),
        failed=sum(p.error is not None for p in found.values()),
        truncated=_truncated(found.values()),
        duplicated_options=sum(len(set(q.choices)) < len(q.choices) for q in questions),
        mmau_version=mmau_version,
        policy_version=policy_version,
        temperature=temperature,
        settings=dict(settings or {}),
    )


def _share(questions: Sequence[Question], right: set[str] | None) -> Share:
    if right is None:
        return Share.unjudged(len(questions))
    return Share.of(sum(q.id in right for q in questions), len(questions))


def _by(
    key: str, questions: Sequence[Question], right: set[str] | None, order: Sequence[str] = ()
) -> dict[str, Share]:
    """Shares by a key's values: in the given order, then as first seen; "" is none."""
    groups: dict[str, list[Question]] = {value: [] for value in order}
    for question in questions:
        groups.setdefault(question.extra.get(key, ""), []).append(question)
    return {value: _share(group, right) for value, group in groups.items() if value and group}


def _format(questions: Sequence[Question], found: Mapping[str, Prediction], think: bool) -> float:
    return fmean(
        format_reward(found[q.id].model_output_raw, Prompt(question=q, text=""), think=think)
        if q.id in found
        else 0.0
        for q in questions
    )


def _no_answer(completions: Sequence[str]) -> float:
    return fmean(split_completion(text)[1] is None for text in completions)


def _truncated(predictions: Iterable[Prediction]) -> int | None:
    reasons = [p.finish_reason for p in predictions]
    return sum(r == "length" for r in reasons) if any(reasons) or not reasons else None


def write_summary(path: Path, summary: Summary) -> None:
    """Write ``summary.json``; until it is whole, the one before it stays.

    Raises:
        DataError: the file cannot be written.
    """
    aside = path.parent / f".{path.name}.partial"
    try:
        aside.write_text(json.dumps(summary.model_dump(), indent=2) + "\n", encoding="utf-8")
        os.replace(aside, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            aside.unlink()
        raise DataError(
            f"{path}: the summary cannot be written ({error.strerror}); wanted a file in a folder "
            "that can be written to"
        ) from error


def read_summary(path: Path) -> Summary:
    """Read ``summary.json``.

    Raises:
        DataError: it is none.
    """
    try:
        return Summary.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise DataError(
            f"{path}: no summary of an evaluation ({where}: {first['msg']}); write it anew with "
            "`keomni-rl score`"
        ) from error
