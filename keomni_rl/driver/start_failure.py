"""Why an engine does not start, in one line, out of all that its processes print."""

import os
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import takewhile
from typing import IO

import ray

from keomni_rl.actors.loss import has_failed_to_build
from keomni_rl.errors import ConfigError, EngineError

RAISED = re.compile(r"\b(?:\w+\.)*(\w+(?:Error|Exception)): (?=\S)")
"""How Python shows an exception, in a traceback or a line of a log."""
AROUND = re.compile(r"^\d+ validation errors? for \w+ (?:Value error, )?| \[type=.*")
"""What pydantic puts before and behind a message."""


def find_cause(text: str) -> str | None:
    """What the last exception in a text says, in one line; None if there is none."""
    raised = list(RAISED.finditer(text))
    if not raised:
        return None
    first, *others = text[raised[-1].end() :].splitlines()
    return _joined([first, *takewhile(lambda line: line.startswith(" "), others)])


def one_line(error: BaseException) -> str:
    """What an exception says."""
    return _joined(str(error).splitlines()) or repr(error)


def _joined(lines: Iterable[str]) -> str:
    return AROUND.sub("", " ".join(" ".join(lines).split()))


@contextmanager
def refusal_told() -> Iterator[None]:
    """Actors that cannot be started, or are not ready to work, are a user's error.

    Raises:
        ConfigError: an actor could not be built, or its engine refused.
    """
    try:
        yield
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, EngineError):
            raise ConfigError(str(error.cause)) from error
        raise
    except ray.exceptions.RayActorError as error:
        if not has_failed_to_build(error):
            raise
        raise ConfigError(
            f"an actor does not start: {find_cause(str(error)) or error}; KEOMNI_RL_ACTOR_LOGS=1 "
            "shows what it printed"
        ) from error


@contextmanager
def stderr_to(file: IO[bytes]) -> Iterator[None]:
    """Have this process, and for good those that it starts meanwhile, print errors to a file."""
    sys.stderr.flush()
    kept = os.dup(2)
    os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)
