"""Reads configuration: YAML files and ``section.key=value`` words, the later one wins.

OmegaConf merges, pydantic validates; every complaint names the key and what to do.
"""

import difflib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel, ValidationError

from keomni_rl.config.schema import EvaluateConfig, RunConfig
from keomni_rl.errors import ConfigError

ConfigT = TypeVar("ConfigT", bound=BaseModel)
RunT = TypeVar("RunT", RunConfig, EvaluateConfig)
MAX_FILE_BYTES = 2**20
MAX_COMPLAINTS = 20
NOT_YAML = (
    OmegaConfBaseException,
    yaml.YAMLError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    RecursionError,
    OSError,
)
"""What reading YAML raises: the plain ones come of tags that do not fit, such as ``!!int x``."""


def load_config(schema: type[ConfigT], words: Sequence[str]) -> ConfigT:
    """Merge and validate configuration.

    Args:
        schema: what the result must be.
        words: YAML paths and dotted overrides, in the order given on the command line.

    Raises:
        ConfigError: a file is missing or no mapping, a key is unknown, a value is out of range.
    """
    merged: Any = OmegaConf.create({})
    for word in words:
        try:
            merged = OmegaConf.merge(merged, _read(word))
        except (OmegaConfBaseException, TypeError) as error:
            raise ConfigError(f"{word!r:.80}: does not fit what came before ({error})") from error
    tree = OmegaConf.to_container(merged)
    _refuse_placeholders(tree, "")
    try:
        return schema.model_validate(tree)
    except ValidationError as error:
        lines = [_explain(schema, e) for e in error.errors()[:MAX_COMPLAINTS]]
        if (more := error.error_count() - len(lines)) > 0:
            lines.append(f"and {more} more")
        raise ConfigError("\n".join(lines)) from error


def load_resumed(schema: type[ConfigT], run_dir: Path, words: Sequence[str]) -> ConfigT:
    """The configuration in a run's folder with what is changed for its resumption.

    Args:
        schema: of ``RunConfig`` and ``EvaluateConfig`` the one that the folder is of.
        run_dir: the folder, wherever it lies now.
        words: as for `load_config`.

    Raises:
        ConfigError: as `load_config`; or no run has been there.
    """
    file = run_dir / "config.yaml"
    if not os.path.isfile(file):
        raise ConfigError(f"{run_dir} holds no run to resume (no config.yaml in it)")
    return load_config(schema, [str(file), *words]).model_copy(update={"run_dir": run_dir})


def load_run(
    schema: type[RunT], words: Sequence[str], *, resume: Path | None, start_or_resume: bool
) -> tuple[RunT, bool]:
    """The configuration of a run that is to start or to go on, and whether it goes on.

    Args:
        schema: of what is run.
        words: as for `load_config`.
        resume: the folder of a run that goes on.
        start_or_resume: go on in ``run_dir`` if a run has been there, as a job does that is
            submitted again after a preemption; the words are laid over that run's configuration.

    Raises:
        ConfigError: as `load_config` and `load_resumed`.
    """
    if resume and start_or_resume:
        raise ConfigError(
            "--resume names the folder of a run that is there, --start-or-resume takes run_dir "
            "whether or not one is; give one of them"
        )
    if resume:
        return load_resumed(schema, resume, words), True
    config = load_config(schema, words)
    if start_or_resume and os.path.isfile(config.run_dir / "config.yaml"):
        return load_resumed(schema, config.run_dir, words), True
    return config, False


def to_yaml(config: BaseModel) -> str:
    """The resolved configuration as YAML, every default written out."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)


def read_mapping(path: Path) -> dict[str, Any]:
    """The mapping that a YAML file holds, not validated.

    Raises:
        ConfigError: no such file, too large a one, not YAML or no mapping.
    """
    if not os.path.isfile(path):
        raise ConfigError(
            f"{path}: no such configuration file; give a YAML file or section.key=value"
        )
    if (num_bytes := os.path.getsize(path)) > MAX_FILE_BYTES:
        raise ConfigError(
            f"{path}: {num_bytes} bytes, over the limit of {MAX_FILE_BYTES}; wanted a configuration"
        )
    try:
        loaded = OmegaConf.load(path)
    except NOT_YAML as error:
        raise ConfigError(f"{path}: not readable as YAML ({_told(error)})") from error
    if not isinstance(loaded, DictConfig):
        raise ConfigError(f"{path}: wanted a mapping of sections, got a list or nothing")
    tree: Any = OmegaConf.to_container(loaded)
    return tree


def _read(word: str) -> dict[str, Any] | DictConfig:
    if "=" not in word or word.endswith((".yaml", ".yml")):
        return read_mapping(Path(word))
    try:
        return OmegaConf.from_dotlist([word])
    except NOT_YAML as error:
        raise ConfigError(
            f"{word!r:.80}: not a section.key=value override ({_told(error)})"
        ) from error


def _told(error: Exception) -> str:
    return f"{error!s:.500}" or type(error).__name__


def _refuse_placeholders(value: Any, key: str) -> None:
    """OmegaConf would fill in ``${...}`` and wants ``???`` replaced; a NUL is in no path."""
    parts = value.items() if isinstance(value, dict) else enumerate(value)
    for name, part in parts:
        inner = f"{key}.{name}" if key else str(name)
        if isinstance(part, (dict, list)):
            _refuse_placeholders(part, inner)
        elif isinstance(part, str) and ("${" in part or part == "???" or "\0" in part):
            raise ConfigError(
                f"{inner:.80}: {part!r:.80} is no value; write it out, nothing is filled in"
            )


def _explain(schema: type[BaseModel], error: Any) -> str:
    """One line for one pydantic error: the key, what is wrong, for an unknown key the nearest."""
    key = ".".join(str(part) for part in error["loc"]) or "the configuration"
    if error["type"] == "extra_forbidden":
        known = _keys(schema)
        near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"known sections: {_sections(schema)}"
        return f"unknown configuration key {key!r:.80}; {hint}"
    if error["type"] == "missing":
        return f"configuration key {key!r} is missing; set it in a YAML file or as {key}=VALUE"
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] == "value_error":
        return f"{key}: {message}"
    return f"{key:.80}: {message}, got {error['input']!r:.80}"


def _keys(schema: type[BaseModel], prefix: str = "") -> list[str]:
    keys: list[str] = []
    for name, field in schema.model_fields.items():
        keys.append(prefix + name)
        nested = [field.annotation, *getattr(field.annotation, "__args__", ())]
        for annotation in nested:
            if isinstance(annotation, type) and issubclass(annotation, BaseModel):
                keys += _keys(annotation, f"{prefix}{name}.")
    return keys


def _sections(schema: type[BaseModel]) -> str:
    return ", ".join(schema.model_fields)
