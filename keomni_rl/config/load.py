"""Reads configuration: YAML files and ``section.key=value`` words, the later one wins.

OmegaConf merges, pydantic validates; every complaint names the key and what to do.
"""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel, ValidationError

from keomni_rl.errors import ConfigError

ConfigT = TypeVar("ConfigT", bound=BaseModel)


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
            raise ConfigError(f"{word!r}: does not fit what came before ({error})") from error
    tree = OmegaConf.to_container(merged)
    try:
        return schema.model_validate(tree)
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(schema, e) for e in error.errors())) from error


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
    if not file.is_file():
        raise ConfigError(f"{run_dir} holds no run to resume (no config.yaml in it)")
    return load_config(schema, [str(file), *words]).model_copy(update={"run_dir": run_dir})


def to_yaml(config: BaseModel) -> str:
    """The resolved configuration as YAML, every default written out."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)


def _read(word: str) -> Any:
    if "=" in word and not word.endswith((".yaml", ".yml")):
        try:
            return OmegaConf.from_dotlist([word])
        except (OmegaConfBaseException, yaml.YAMLError) as error:
            raise ConfigError(f"{word!r}: not a section.key=value override ({error})") from error
    path = Path(word)
    if not path.is_file():
        raise ConfigError(
            f"{word}: no such configuration file; give a YAML file or section.key=value"
        )
    try:
        loaded = OmegaConf.load(path)
    except (OmegaConfBaseException, yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not readable as YAML ({error})") from error
    if not OmegaConf.is_dict(loaded):
        raise ConfigError(f"{path}: wanted a mapping of sections, got a list or nothing")
    return loaded


def _explain(schema: type[BaseModel], error: Any) -> str:
    """One line for one pydantic error: the key, what is wrong, for an unknown key the nearest."""
    key = ".".join(str(part) for part in error["loc"]) or "the configuration"
    if error["type"] == "extra_forbidden":
        known = _keys(schema)
        near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"known sections: {_sections(schema)}"
        return f"unknown configuration key {key!r}; {hint}"
    if error["type"] == "missing":
        return f"configuration key {key!r} is missing; set it in a YAML file or as {key}=VALUE"
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] == "value_error":
        return f"{key}: {message}"
    return f"{key}: {message}, got {error['input']!r}"


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
