"""The pages of one evaluation, and of two on the same questions side by side."""

from collections.abc import Mapping, Sequence
from typing import Any

from keomni_rl.config.describe import describe_prompt
from keomni_rl.config.schema import AnsweringConfig
from keomni_rl.data.mmau import TASKS
from keomni_rl.errors import DataError
from keomni_rl.evaluation.compare import check_same_questions, compare
from keomni_rl.evaluation.shares import Share
from keomni_rl.observe.report.beside import beside_rows
from keomni_rl.observe.report.evaluations import EvaluationRun
from keomni_rl.observe.report.figures import Drawn, shares_figure
from keomni_rl.observe.report.page import Page
from keomni_rl.observe.report.questions import (
    OUTCOMES,
    Answered,
    answered_questions,
    outcome_counts,
    paired_outcomes,
    question_rows,
)
from keomni_rl.observe.report.sounds import Embedding, Sounds, embed_sounds, sound_notes


def evaluation_page(run: EvaluationRun, embedding: Embedding) -> Page:
    """Show one evaluation."""
    return _page([run], OUTCOMES, embedding, content={"comparison": None})


def comparison_page(ours: EvaluationRun, baseline: EvaluationRun, embedding: Embedding) -> Page:
    """Show two evaluations of the same questions, and whether they differ.

    Raises:
        DataError: one has not ended, or they answer different questions, or ones without answers.
    """
    for run in (ours, baseline):
        if not run.is_finished:
            raise DataError(
                f"{run.folder}: this evaluation has not ended, so it cannot be compared; go on "
                f"with it by `keomni-rl evaluate --resume {run.folder}`"
            )
    names = distinct_names([ours, baseline])
    check_same_questions(ours.questions, baseline.questions, (names[0], names[1]))
    comparison = compare(
        ours.questions, ours.predictions, baseline.predictions, names=(names[0], names[1])
    )
    outcomes = paired_outcomes((names[0], names[1]))
    return _page([ours, baseline], outcomes, embedding, content={"comparison": comparison})


def distinct_names(runs: Sequence[Any]) -> list[str]:
    """What to call runs by: their names, or their folders where names are the same."""
    names = [run.name for run in runs]
    return names if len(set(names)) == len(names) else [str(run.folder) for run in runs]


def _page(
    runs: Sequence[EvaluationRun],
    outcomes: Mapping[str, str],
    embedding: Embedding,
    content: Mapping[str, Any],
) -> Page:
    names = distinct_names(runs)
    questions = answered_questions(runs)
    places = _places(questions)
    clips = runs[0].clips or runs[-1].clips
    sounds = _sounds(questions, clips, embedding)
    rows = list(question_rows(questions, clips, sounds, embedding.audio))
    notes = [note for run in runs for note in run.notes]
    if len(runs) == 2:
        notes = [f"{name}: {n}" for name, r in zip(names, runs, strict=True) for n in r.notes]
    summaries = [run.summary for run in runs if run.summary]
    return Page(
        template="evaluation.html.j2",
        title=" against ".join(names),
        kind="evaluation" if len(runs) == 1 else "comparison of two evaluations",
        settings=evaluation_settings(runs[0]) if len(runs) == 1 else [],
        figures=_figures(runs, names, places),
        sounds=sounds,
        notes=[*notes, *sound_notes(sounds, embedding)],
        content={
            "names": names,
            "summaries": summaries,
            "beside": beside_rows(summaries),
            "settings": [evaluation_settings(run) for run in runs],
            "outcomes": outcome_counts((q.outcomes for q in questions), outcomes),
            "places": places,
            "data": {"names": names, "words": OUTCOMES, "questions": rows},
            **content,
        },
    )


def evaluation_settings(run: EvaluationRun) -> list[tuple[str, str]]:
    """Names and values of what the result depends on."""
    settings = [("model", run.model)] if run.model else []
    if run.prompt:
        settings.append(("prompt", describe_prompt(run.prompt)))
    if run.answering:
        settings.append(("answers", _sampling(run.answering)))
        settings.append(("questions file", str(run.answering.file)))
    if run.summary:
        settings.append(("MMAU version", run.summary.mmau_version))
        if run.summary.policy_version is not None:
            settings.append(("policy version", str(run.summary.policy_version)))
    return settings


def _sampling(config: AnsweringConfig) -> str:
    how = f"temperature {config.temperature:g}" if config.temperature else "greedy"
    how += f", top-p {config.top_p:g}" if config.top_p < 1 else ""
    how += f", top-k {config.top_k}" if config.top_k else ""
    how += f", {config.samples} samples, seed {config.seed}" if config.temperature else ""
    return f"{how}, at most {config.max_new_tokens} tokens"


def _figures(
    runs: Sequence[EvaluationRun], names: Sequence[str], places: Mapping[str, Sequence[str]]
) -> list[Drawn]:
    """Sub-categories in the order of the table, task by task."""
    tables: dict[str, Mapping[str, Share]] = {}
    for name, run in zip(names, runs, strict=True):
        if run.summary and run.is_judged:
            found = run.summary.by_sub_category
            tables[name] = {s: found[s] for subs in places.values() for s in subs if s in found}
    if len(tables) < len(runs) or not all(tables.values()):
        return []
    return [shares_figure("Accuracy by sub-category", tables)]


def _sounds(
    questions: Sequence[Answered], clips: Mapping[str, str], embedding: Embedding
) -> Sounds:
    wanted = {"all": (True, False), "wrong": (True,), "none": ()}[embedding.audio]
    paths = [
        clips[answered.question.id]
        for is_wrong in wanted
        for answered in questions
        if answered.is_wrong is is_wrong and answered.question.id in clips
    ]
    return embed_sounds(paths, embedding.limit_mb)


def _places(questions: Sequence[Answered]) -> dict[str, list[str]]:
    """Task -> its sub-categories, as they first occur; one of several tasks goes by the first."""
    task_of: dict[str, str] = {}
    for answered in questions:
        extra = answered.question.extra
        task_of.setdefault(extra["sub-category"], extra["task"])
    asked = {answered.question.extra["task"] for answered in questions}
    return {
        task: [sub for sub, of in task_of.items() if sub and of == task]
        for task in TASKS
        if task in asked
    }
