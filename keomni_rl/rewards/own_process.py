"""The user's own rewards in a process of their own, which is killed when a call takes too long.

An endless loop, or a regular expression that backtracks for ever, would hold up whoever calls it; a
crash would take them along. Neither becomes a reward of 0: it is tried again, then it is an error.
"""

import logging
import signal
from collections.abc import Sequence
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path

from pebble import ProcessExpired

from keomni_rl.errors import ConfigError, RewardError
from keomni_rl.rewards.child import Child
from keomni_rl.rewards.own import RewardFunction, call, find_reward, whereabouts
from keomni_rl.types import Prompt

log = logging.getLogger(__name__)
STARTUP_S = 600.0
"""For a process to import the rewards, which may load a model of their own."""
NUM_ATTEMPTS = 2
"""At one completion, each in a fresh process."""


class OwnRewards:
    """Calls rewards one after the other in one process, which starts with the first call.

    What their modules keep, the process keeps from call to call until one call is cut off. Works in
    any thread, in one at a time.

    Args:
        names: ``module:function`` or ``path/to/file.py:function``.
        folder: where their modules and files are.
        timeout_s: seconds for one completion, the start of the process not counted.
    """

    def __init__(self, names: Sequence[str], folder: Path, timeout_s: float) -> None:
        self._names = tuple(names)
        self._timeout_s = timeout_s
        self._child = Child(partial(_find, self._names, folder), startup_s=STARTUP_S)

    def start(self) -> None:
        """Start the process, as the first call would.

        Raises:
            ConfigError: a reward cannot be found.
            RewardError: the process does not survive the import of the rewards.
        """
        try:
            [future] = self._child.run(_check, [()], deadline_s=STARTUP_S)
        except BrokenProcessPool as error:
            raise RewardError(
                f"the process of {', '.join(map(repr, self._names))} ended while it imported them "
                f"({error}); try the import on this machine"
            ) from error
        future.result()

    def score(self, name: str, texts: Sequence[str], prompt: Prompt) -> list[float]:
        """Score the completions of one prompt.

        Raises:
            ConfigError: the reward cannot be found.
            RewardError: it raised, returned something that is no finite number, or twice in a row
                took too long or ended its process.
        """
        return [self._score(name, text, prompt) for text in texts]

    def close(self) -> None:
        """End the process."""
        self._child.close()

    def _score(self, name: str, text: str, prompt: Prompt) -> float:
        where = whereabouts(text, prompt)
        ends: list[str] = []
        while len(ends) < NUM_ATTEMPTS:
            try:
                [future] = self._child.run(
                    _call, [(name, text, prompt)], deadline_s=self._timeout_s
                )
                return future.result()
            except (TimeoutError, ProcessExpired, BrokenProcessPool) as error:
                ends.append(_end(error, self._timeout_s))
                log.warning("reward %r %s %s", name, ends[-1], where)
        raise RewardError(
            f"reward {name!r} {' and then '.join(ends)} {where}; wanted a finite number within "
            f"{self._timeout_s:g} s (reward.timeout_s)"
        )


def _end(error: TimeoutError | ProcessExpired | BrokenProcessPool, timeout_s: float) -> str:
    """How a call ended that came to no result."""
    if isinstance(error, TimeoutError):
        return f"gave no answer in {timeout_s:g} s"
    if isinstance(error, BrokenProcessPool):
        return f"ended its process at once ({error})"
    code = error.exitcode
    return f"ended its process ({signal.strsignal(-code) if code < 0 else f'exit code {code}'})"


_found: dict[str, RewardFunction | ConfigError] = {}
"""In the process: each reward by its name, or why there is none."""


def _find(names: Sequence[str], folder: Path) -> None:
    """Run first in the process, before any deadline runs."""
    for name in names:
        try:
            _found[name] = find_reward(name, folder)
        except ConfigError as error:  # for the one who asks: here nobody would read it
            _found[name] = error


def _check() -> None:
    for name in _found:
        _reward(name)


def _call(name: str, text: str, prompt: Prompt) -> float:
    return call(name, _reward(name), text, prompt)


def _reward(name: str) -> RewardFunction:
    found = _found[name]
    if isinstance(found, ConfigError):
        raise found
    return found
