"""The configuration that a run is started with, whatever folder and day it is looked up in."""

from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console

from keomni_rl.config.idle import idle_settings
from keomni_rl.config.schema import (
    AnsweringConfig,
    EvaluateConfig,
    ModelConfig,
    RunConfig,
    Source,
)
from keomni_rl.models.hub import local_model

ConfigT = TypeVar("ConfigT", RunConfig, EvaluateConfig)
FiledT = TypeVar("FiledT", Source, AnsweringConfig)


def settle(config: ConfigT) -> ConfigT:
    """The configuration with every path absolute and the model pinned.

    Actors may start in other folders and on other nodes, and a run may be resumed from elsewhere.

    Raises:
        CheckpointError: there is no such model.
    """
    run_dir = config.run_dir
    settled: dict[str, Any] = {
        "run_dir": run_dir.absolute() if isinstance(run_dir, Path) else run_dir,
        "model": config.model and settle_model(config.model),
        "evaluation": config.evaluation and _with_absolute_file(config.evaluation),
    }
    if isinstance(config, RunConfig):
        sources = tuple(map(_with_absolute_file, config.data.train))
        settled["data"] = config.data.model_copy(update={"train": sources})
    return config.model_copy(update=settled)


def _with_absolute_file(section: FiledT) -> FiledT:
    return section.model_copy(update={"file": section.file.absolute()})


def settle_model(model: ModelConfig) -> ModelConfig:
    """The same model wherever and whenever it is looked up: an absolute folder, a pinned commit.

    Raises:
        CheckpointError: there is no such model.
    """
    folder = local_model(model.path, model.revision)
    if model.path.is_dir():
        return model.model_copy(update={"path": model.path.absolute()})
    return model.model_copy(update={"revision": folder.name})  # snapshots are named by commit


def tell_idle(config: RunConfig | EvaluateConfig, console: Console) -> None:
    """Name the settings that were made for nothing."""
    for line in idle_settings(config):
        console.print(f"of no use here: {line}", style="yellow", markup=False, soft_wrap=True)
