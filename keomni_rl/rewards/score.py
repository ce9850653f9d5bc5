"""The weighted sum of a completion's rewards, with its parts."""

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from keomni_rl.errors import ConfigError
from keomni_rl.rewards.accuracy import accuracy, seeds_accuracy
from keomni_rl.rewards.format import format_reward
from keomni_rl.rewards.own import RewardFunction, call, find_reward
from keomni_rl.rewards.own_process import OwnRewards
from keomni_rl.rewards.think_length import within_limit
from keomni_rl.rewards.verifier import MathVerifier
from keomni_rl.types import Prompt, Reward

GroupReward = Callable[[Sequence[str], Prompt], Sequence[float]]
"""Scores all completions of one prompt."""
REWARDS = ("accuracy", "format", "think_length")


@dataclass(frozen=True, slots=True)
class Rewards:
    """The reward functions of a run."""

    functions: Mapping[str, GroupReward]
    """By name."""
    verifier: MathVerifier | None = None
    """Whom accuracy asks about mathematics."""
    own: OwnRewards | None = None
    """The process of the user's own rewards, if they have one."""

    def start(self) -> None:
        """Start the process of the user's own rewards, as their first call would.

        Raises:
            ConfigError: one of them cannot be found in there.
            RewardError: the process does not get ready.
        """
        if self.own:
            self.own.start()

    def close(self) -> None:
        """End every process."""
        for process in (self.verifier, self.own):
            if process:
                process.close()


def reward_functions(
    names: Sequence[str],
    *,
    think: bool,
    think_max_words: int,
    compat: bool = False,
    math_verify: bool = False,
    folder: Path | None = None,
    timeout_s: float | None = None,
) -> Rewards:
    """Find the functions behind reward names; a name with a colon is that of one of the user's.

    Args:
        names: ``accuracy``, ``format``, ``think_length``, ``module:function`` or
            ``path/to/file.py:function``.
        think: whether a think is asked for.
        think_max_words: the limit that the prompt names; 0 names none.
        compat: accuracy and format as Ke-Omni-R and R1-AQA computed them.
        math_verify: accuracy takes mathematics into account.
        folder: where the user's modules and files are; by default the working directory.
        timeout_s: seconds for a reward of the user's own over one completion. They are imported and
            called in a process of their own then; without, in this one, which they can hang.

    Raises:
        ConfigError: a name is unknown or cannot be imported, what it needs is not installed, or a
            setting would have no effect on these rewards.
    """
    _refuse_idle(names, think, think_max_words, compat=compat, math_verify=math_verify)
    verifier = new_verifier() if (compat or math_verify) and "accuracy" in names else None
    place = (folder or Path()).absolute()
    own_names = [name for name in names if ":" in name]
    own = OwnRewards(own_names, place, timeout_s) if own_names and timeout_s is not None else None
    known: dict[str, GroupReward] = {
        "accuracy": _accuracy(verifier, compat=compat),
        "format": _each(partial(format_reward, think=think, compat=compat)),
        "think_length": _each(lambda text, _: within_limit(text, think_max_words)),
    }
    functions = {name: known[name] if name in known else _own(name, place, own) for name in names}
    return Rewards(functions, verifier, own)


def score(
    texts: Sequence[str],
    prompt: Prompt,
    weights: Mapping[str, float],
    functions: Mapping[str, GroupReward],
) -> tuple[Reward, ...]:
    """Score the completions of one prompt.

    Raises:
        RewardError: a reward function raised, returned something that is no finite number, or came
            to no end.
    """
    columns = [functions[name](texts, prompt) for name in weights]
    breakdowns = [dict(zip(weights, row, strict=True)) for row in zip(*columns, strict=True)]
    return tuple(
        Reward(total=sum(weights[name] * value for name, value in parts.items()), breakdown=parts)
        for parts in breakdowns
    )


def new_verifier() -> MathVerifier:
    """Make a verifier, whose process starts with its first question.

    Raises:
        ConfigError: math_verify is not installed, or not in a state to be imported.
    """
    try:
        import math_verify  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            f"reward.compat and reward.math_verify need math_verify ({error}); install it with "
            "pip install 'keomni-rl[math]', or set both to false"
        ) from error
    return MathVerifier()


def _refuse_idle(
    names: Sequence[str], think: bool, think_max_words: int, *, compat: bool, math_verify: bool
) -> None:
    if "think_length" in names and not (think and think_max_words):
        raise ConfigError(
            "reward 'think_length' is the same for every completion where no think is asked for "
            f"or its limit is 0 words; got think {str(think).lower()} and limit "
            f"{think_max_words}: set prompt.style: think and prompt.think_max_words, or remove "
            "the reward"
        )
    if math_verify and "accuracy" not in names:
        raise ConfigError(
            "reward.math_verify does nothing without the reward 'accuracy'; add it to "
            "reward.weights or set math_verify: false"
        )
    if compat and not {"accuracy", "format"} & set(names):
        raise ConfigError(
            "reward.compat does nothing without the rewards 'accuracy' and 'format'; add one to "
            "reward.weights or set compat: false"
        )


def _accuracy(verifier: MathVerifier | None, *, compat: bool) -> GroupReward:
    if verifier is None:
        return accuracy
    return partial(seeds_accuracy if compat else accuracy, verify=verifier.verify)


def _each(function: RewardFunction) -> GroupReward:
    return lambda texts, prompt: [function(text, prompt) for text in texts]


def _own(name: str, folder: Path, own: OwnRewards | None) -> GroupReward:
    if ":" not in name:
        near = difflib.get_close_matches(name, REWARDS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(REWARDS)}"
        raise ConfigError(
            f"unknown reward {name!r}; {hint} (one of yours is named module:function or "
            "path/to/file.py:function)"
        )
    if own:
        return partial(own.score, name)
    return _each(partial(call, name, find_reward(name, folder)))
