"""What the folder of an evaluation holds: its questions, what was answered, and the result."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from keomni_rl.config import EvaluateConfig, RunConfig
from keomni_rl.config.schema import AnsweringConfig, PromptConfig
from keomni_rl.data.mmau import find_version, read_mmau
from keomni_rl.errors import DataError
from keomni_rl.evaluation.judge import right_ids
from keomni_rl.evaluation.predictions import PredictionFile, read_prediction_file
from keomni_rl.evaluation.score import score_file
from keomni_rl.evaluation.summary import Summary, read_summary, summarise
from keomni_rl.types import Prediction, Question

KEY = "model_output"


@dataclass(frozen=True)
class EvaluationRun:
    """One set of answers with its result, finished or not."""

    folder: Path
    name: str
    model: str
    """Path or name; "" where it is not known."""
    prompt: PromptConfig | None
    answering: AnsweringConfig | None
    summary: Summary | None
    """None before the first answer. Of the questions answered so far, if it has not ended."""
    is_finished: bool
    questions: tuple[Question, ...]
    predictions: Mapping[str, Prediction]
    """By question id."""
    clips: Mapping[str, str]
    """Paths of the questions' clips by question id; empty where they are not known."""
    notes: tuple[str, ...]
    """What a reader should know."""

    @property
    def is_judged(self) -> bool:
        """Whether the questions have answers."""
        return self.summary is not None and self.summary.accuracy is not None

    @property
    def right(self) -> set[str]:
        """Ids of the questions answered right."""
        return right_ids(self.questions, self.predictions) if self.is_judged else set()


def read_evaluation(
    folder: Path, name: str, config: EvaluateConfig | RunConfig | None, notes: tuple[str, ...]
) -> EvaluationRun:
    """Read an evaluation.

    Args:
        folder: with predictions and, once it has ended, ``summary.json``.
        name: to call it by.
        config: what it, or the run that it belongs to, was configured by.
        notes: what a reader should know already.

    Raises:
        DataError: a file cannot be read, or the files do not belong together.
    """
    answering = config.evaluation if config else None
    file = _predictions(folder, answering)
    summary = None
    if is_finished := (folder / "summary.json").exists():
        summary = read_summary(folder / "summary.json")
    elif file.predictions:
        summary = _summary_so_far(file, config)
    clips, trouble = _clips(answering)
    return EvaluationRun(
        folder=folder,
        name=name,
        model=_model(config),
        prompt=config.prompt if config else None,
        answering=answering,
        summary=summary,
        is_finished=is_finished,
        questions=file.questions,
        predictions=file.predictions,
        clips=clips,
        notes=(*notes, *(file.notes if is_finished else _unfinished(file)), *trouble),
    )


def _unfinished(file: PredictionFile) -> tuple[str, ...]:
    of_all = f" of {len(file.questions)}" if file.questions else ""
    return (
        f"This evaluation has not ended: {len(file.predictions)}{of_all} questions are answered, "
        "and all figures are of these.",
    )


def _predictions(folder: Path, answering: AnsweringConfig | None) -> PredictionFile:
    """Answers as they came, with the questions as they were put; or what there is of the two."""
    lines, array = folder / "predictions.jsonl", folder / "predictions.json"
    has_lines = lines.exists() and b"\n" in lines.read_bytes()
    if array.exists():
        first, questions = (lines, array) if has_lines else (array, None)
        return read_prediction_file(first, key=KEY, questions=questions)
    if not has_lines:
        return PredictionFile(questions=(), predictions={}, notes=())
    return read_prediction_file(lines, key=KEY, questions=answering.file if answering else None)


def _summary_so_far(file: PredictionFile, config: EvaluateConfig | RunConfig | None) -> Summary:
    answered = tuple(q for q in file.questions if q.id in file.predictions)
    if config is None or config.evaluation is None:
        so_far = PredictionFile(questions=answered, predictions=file.predictions, notes=())
        return score_file(so_far, think=None, think_max_words=0)
    return summarise(
        answered,
        file.predictions,
        think=config.prompt.thinks,
        has_tags=config.prompt.has_tags,
        mmau_version=find_version(file.questions),
        policy_version=next(iter(file.predictions.values())).policy_version,
        temperature=config.evaluation.temperature,
        think_max_words=config.prompt.measured_words,
    )


def _clips(answering: AnsweringConfig | None) -> tuple[dict[str, str], tuple[str, ...]]:
    if answering is None:
        return {}, ()
    try:
        return {q.id: q.audio for q in read_mmau(answering.file)}, ()
    except DataError as error:
        return {}, (
            f"No clip can be played, for they are found by the questions file: {error}. A path "
            "that is not absolute counts from where the evaluation was started.",
        )


def _model(config: EvaluateConfig | RunConfig | None) -> str:
    if config is None:
        return ""
    if config.model is not None:
        return str(config.model.path)
    return config.endpoint.model if isinstance(config, EvaluateConfig) and config.endpoint else ""
