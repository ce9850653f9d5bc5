"""A reward of the user's own: found by its name, looked at before a run, checked at every call."""

import difflib
import importlib
import importlib.util
import inspect
import math
import os
import sys
import zlib
from collections.abc import Callable
from numbers import Real
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from keomni_rl.errors import ConfigError, RewardError
from keomni_rl.types import Prompt

RewardFunction = Callable[[str, Prompt], float]
"""(text of a completion, its prompt) -> worth. ``prompt.question`` has ``question``, ``choices``
and ``answer``, the solution."""


def find_reward(name: str, folder: Path) -> RewardFunction:
    """Import ``module:function`` or ``path/to/file.py:function``.

    Args:
        name: as in the configuration.
        folder: where modules are looked for after those of the environment, and where paths start.

    Raises:
        ConfigError: there is no such function, its module fails, or it is of another form.
    """
    place, _, function_name = name.rpartition(":")
    if not (place and function_name.isidentifier()):
        raise ConfigError(
            f"reward {name!r} names no function; wanted module:function or path/to/file.py:function"
        )
    module = _load(name, place, folder)
    function = getattr(module, function_name, None)
    if function is None:
        near = difflib.get_close_matches(function_name, vars(module), n=1)
        hint = f"did you mean {near[0]!r}?" if near else "a file is named path/to/file.py:function"
        raise ConfigError(f"reward {name!r}: {module.__file__} has no {function_name!r}; {hint}")
    if problem := _problem(function):
        raise ConfigError(
            f"reward {name!r} {problem}; wanted a function (text, prompt) that returns a number"
        )
    return cast(RewardFunction, function)


def call(name: str, function: RewardFunction, text: str, prompt: Prompt) -> float:
    """Score one completion.

    Raises:
        RewardError: the function raised, or returned something that is no finite number.
    """
    where = whereabouts(text, prompt)
    try:
        value = function(text, prompt)
    except (Exception, SystemExit) as error:
        raise RewardError(f"reward {name!r} raised {error!r} {where}") from error
    number = _finite(value)
    if number is None:
        raise RewardError(f"reward {name!r} returned {value!r:.80} {where}; wanted a finite number")
    return number


def whereabouts(text: str, prompt: Prompt) -> str:
    """Name a completion, for messages."""
    return f"on question {prompt.id!r}, completion {text[:200]!r}"


def _load(name: str, place: str, folder: Path) -> ModuleType:
    file = folder / os.path.expanduser(place)
    if place.endswith(".py") and not file.is_file():
        raise ConfigError(f"reward {name!r}: there is no file {file}")
    try:
        return _import_file(file) if place.endswith(".py") else _import_module(place, folder)
    except ModuleNotFoundError as error:
        if error.name and f"{place}.".startswith(f"{error.name}."):
            raise ConfigError(
                f"reward {name!r} cannot be imported: there is no module {error.name!r} in "
                f"{folder} or in this environment; a file is named path/to/file.py:function"
            ) from error
        raise ConfigError(f"reward {name!r} cannot be imported: {place}: {error}") from error
    except (Exception, SystemExit) as error:  # whatever the user's module does while it is imported
        raise ConfigError(f"reward {name!r} cannot be imported: {place}: {error!r}") from error


def _import_module(place: str, folder: Path) -> ModuleType:
    _look_in(folder)
    return importlib.import_module(place)


def _import_file(file: Path) -> ModuleType:
    """Import a file once, under a name that no module has."""
    file = file.resolve()
    name = f"{file.stem}_{zlib.crc32(bytes(file)):08x}"
    if name not in sys.modules:
        _look_in(file.parent)
        spec = importlib.util.spec_from_file_location(name, file)
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(sys.modules[name])
        except BaseException:
            del sys.modules[name]
            raise
    return sys.modules[name]


def _look_in(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.append(str(folder))  # last: a file there must not hide a library


def _problem(function: Any) -> str | None:
    """Why this can be no reward function, if so."""
    if inspect.isclass(function):
        return "is a class"
    if not callable(function):
        return f"is {function!r:.80}"
    for form in (function, function.__call__):
        if inspect.iscoroutinefunction(form):
            return "is a coroutine function (async def)"
        if inspect.isgeneratorfunction(form) or inspect.isasyncgenfunction(form):
            return "is a generator function (it yields)"
    try:
        signature = inspect.signature(function)
    except ValueError:  # a function in C may not tell
        return None
    try:
        signature.bind("", None)
    except TypeError as error:
        return f"takes {signature} ({error})"
    return None


def _finite(value: Any) -> float | None:
    """A number as a float; a bool is 0 or 1, and scalars of NumPy and torch are numbers."""
    if getattr(value, "ndim", None) == 0:
        value = value.item()
    if not isinstance(value, Real):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
