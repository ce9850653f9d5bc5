"""Runs at URLs for commands that only read: what they need is copied to this machine meanwhile."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from pydantic import BaseModel

from keomni_rl.config import EvaluateConfig, RunConfig, load_config, load_resumed
from keomni_rl.config.run_dir import inside, last_name, located, parent
from keomni_rl.errors import ConfigError, DataError
from keomni_rl.storage.mirror import CHECKPOINTS
from keomni_rl.storage.store import Store, refused

ConfigT = TypeVar("ConfigT", bound=BaseModel)
RunT = TypeVar("RunT", RunConfig, EvaluateConfig)
CONFIG = "config.yaml"


def load_resumed_at(schema: type[ConfigT], place: Path | str, words: Sequence[str]) -> ConfigT:
    """`keomni_rl.config.load_resumed` for a folder or a URL."""
    if isinstance(place, Path):
        return load_resumed(schema, place, words)
    with TemporaryDirectory() as temp:
        if not copy_files(place, [CONFIG], Path(temp)):
            raise ConfigError(f"{place} holds no run to resume (no {CONFIG} in it)")
        config = load_resumed(schema, Path(temp), words)
    return config.model_copy(update={"run_dir": place})


def load_run(
    schema: type[RunT], words: Sequence[str], *, resume: str | None, start_or_resume: bool
) -> tuple[RunT, bool]:
    """The configuration of a run that is to start or to go on, and whether it goes on.

    Args:
        schema: of what is run.
        words: as for `keomni_rl.config.load_config`.
        resume: path or URL of a run that goes on.
        start_or_resume: go on in ``run_dir`` if a run has been there, as a job does that is
            submitted again after a preemption; the words are laid over that run's configuration.

    Raises:
        ConfigError: as `load_config` and `load_resumed_at`.
    """
    if resume and start_or_resume:
        raise ConfigError(
            "--resume names the folder of a run that is there, --start-or-resume takes run_dir "
            "whether or not one is; give one of them"
        )
    if resume:
        return load_resumed_at(schema, located(resume), words), True
    config = load_config(schema, words)
    if start_or_resume and is_taken(config.run_dir):
        return load_resumed_at(schema, config.run_dir, words), True
    return config, False


def is_taken(run_dir: Path | str) -> bool:
    """Whether a run has been there.

    Raises:
        ConfigError: the store refuses to say.
    """
    if isinstance(run_dir, Path):
        return os.path.exists(run_dir / CONFIG)
    try:
        return Store(run_dir).read(CONFIG) is not None
    except OSError as error:
        raise refused(run_dir, error) from error


@contextmanager
def local_folder(place: Path | str) -> Iterator[Path]:
    """A run's or an evaluation's folder without checkpoints; one inside a run keeps its place.

    Raises:
        DataError: there is nothing at the URL.
        ConfigError: the store refuses.
    """
    if isinstance(place, Path):
        yield place
        return
    try:
        names = [name for name in Store(place).sizes() if not name.startswith(f"{CHECKPOINTS}/")]
    except OSError as error:
        raise refused(place, error) from error
    if not names:
        raise DataError(f"{place}: no such folder; give the URL of a run or an evaluation")
    around = parent(parent(place))
    with TemporaryDirectory() as temp:
        names_of = [last_name(around) or "run", last_name(parent(place)) or "at", last_name(place)]
        folder = Path(temp, *names_of)
        copy_files(place, names, folder)
        if last_name(around):
            copy_files(around, [CONFIG], folder.parents[1])
        yield folder


@contextmanager
def local_file(place: Path | str) -> Iterator[Path]:
    """A file.

    Raises:
        DataError: there is none at the URL.
        ConfigError: the store refuses.
    """
    if isinstance(place, Path):
        yield place
        return
    with TemporaryDirectory() as temp:
        name = last_name(place)
        if not copy_files(parent(place), [name], Path(temp)):
            raise DataError(f"{place}: no such file")
        yield Path(temp, name)


def copy_files(url: str, names: Sequence[str], folder: Path) -> bool:
    """Copy files of a folder; whether all are there.

    Raises:
        ConfigError: the store refuses.
    """
    try:
        Store(url).download({name: folder / name for name in names})
    except FileNotFoundError:
        return False
    except OSError as error:
        raise refused(url, error) from error
    return True


def add_file(place: Path | str, file: Path) -> Path | str:
    """See that a folder or a URL has a file; returns where it is.

    Raises:
        ConfigError: the store refuses.
    """
    if isinstance(place, Path):
        return file
    try:
        Store(place).upload(file, file.name)
    except OSError as error:
        raise refused(place, error) from error
    return inside(place, file.name)
