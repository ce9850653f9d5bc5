"""What a folder is, a training run or an evaluation, and what a training run's holds."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from keomni_rl.config import EvaluateConfig, RunConfig, load_config, read_mapping
from keomni_rl.errors import ConfigError, DataError
from keomni_rl.evaluation.summary import Summary, read_summary
from keomni_rl.observe.report.evaluations import EvaluationRun, read_evaluation
from keomni_rl.observe.sinks import read_lines

ConfigT = TypeVar("ConfigT", RunConfig, EvaluateConfig)
NO_CONFIG = ("There is no config.yaml: settings are left out.",)
OF_A_RUN = ("metrics.jsonl", "events.jsonl", "rollouts", "evaluation", "checkpoints")
OF_AN_EVALUATION = ("predictions.jsonl", "predictions.json", "summary.json")


@dataclass(frozen=True)
class TrainingRun:
    """What the folder of a training run holds, finished or not."""

    folder: Path
    name: str
    config: RunConfig | None
    """None if there is none that this version reads; `notes` say so."""
    metrics: list[dict[str, Any]]
    evaluations: list[Summary]
    """By policy version, where they have ended."""
    is_ended: bool
    """Whether its last start came to the last step."""
    notes: tuple[str, ...]
    """What a reader should know."""


def read_folder(folder: Path) -> TrainingRun | EvaluationRun:
    """Read a folder for a report; whatever is not there yet is empty.

    Args:
        folder: of ``train`` or ``evaluate``, or one evaluation inside a training run's.

    Raises:
        ConfigError, DataError: it is neither, or a file in it cannot be read.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; give the folder of a run or an evaluation")
    sections = _sections(folder / "config.yaml")
    if "train" in sections:
        return _training_run(folder, *_config(RunConfig, folder / "config.yaml"))
    if "evaluation" in sections:
        found = _config(EvaluateConfig, folder / "config.yaml")
        return read_evaluation(folder, folder.resolve().name, *found)
    if any((folder / name).exists() for name in OF_AN_EVALUATION):
        return _inside_a_run(folder.resolve())
    if any((folder / name).exists() for name in OF_A_RUN):
        return _training_run(folder, None, NO_CONFIG)
    raise DataError(
        f"{folder}: holds neither a run nor an evaluation (no config.yaml, metrics.jsonl or "
        "predictions.json); give a folder that `keomni-rl train` or `evaluate` made"
    )


def _training_run(folder: Path, config: RunConfig | None, notes: tuple[str, ...]) -> TrainingRun:
    summaries = sorted((folder / "evaluation").glob("step_*/summary.json"))
    events = read_lines(folder / "events.jsonl")
    return TrainingRun(
        folder=folder,
        name=folder.resolve().name,
        config=config,
        metrics=read_lines(folder / "metrics.jsonl"),
        evaluations=[read_summary(file) for file in summaries],
        is_ended=[e["event"] for e in events if e.get("event") in ("start", "end")][-1:] == ["end"],
        notes=notes,
    )


def _inside_a_run(folder: Path) -> EvaluationRun:
    """An evaluation without a configuration of its own; that of the run around it counts."""
    run = folder.parent.parent
    if "train" in _sections(run / "config.yaml"):
        found = _config(RunConfig, run / "config.yaml")
        return read_evaluation(folder, f"{run.name}/{folder.name}", *found)
    return read_evaluation(folder, folder.name, None, NO_CONFIG)


def _sections(path: Path) -> set[str]:
    if not path.is_file():
        return set()
    return set(read_mapping(path))


def _config(schema: type[ConfigT], path: Path) -> tuple[ConfigT | None, tuple[str, ...]]:
    try:
        return load_config(schema, [str(path)]), ()
    except ConfigError as error:
        first = str(error).splitlines()[0]
        return None, (f"Settings are left out: config.yaml is of another version ({first}).",)
