"""The weighted sum of a completion's rewards, with its parts."""

import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import import_module
from numbers import Real

from keomni_rl.errors import ConfigError, RewardError
from keomni_rl.rewards.accuracy import accuracy
from keomni_rl.rewards.format import format_reward
from keomni_rl.rewards.think_length import within_limit
from keomni_rl.types import Prompt, Reward

RewardFunction = Callable[[str, Prompt], float]
REWARDS = ("accuracy", "format", "think_length")


def reward_functions(
    names: Sequence[str], *, think: bool, think_max_words: int
) -> dict[str, RewardFunction]:
    """The functions behind reward names; ``module:function`` imports one of the user's.

    Raises:
        ConfigError: a name is unknown or cannot be imported, or there is no length to reward.
    """
    if "think_length" in names and not (think and think_max_words):
        raise ConfigError(
            "reward 'think_length' is the same for every completion with data.think "
            f"{str(think).lower()} and data.think_max_words {think_max_words}; set a limit or "
            "remove the reward"
        )
    known: dict[str, RewardFunction] = {
        "accuracy": accuracy,
        "format": partial(format_reward, think=think),
        "think_length": lambda text, _: within_limit(text, think_max_words),
    }
    return {name: known[name] if name in known else _imported(name) for name in names}


def score(
    texts: Sequence[str],
    prompt: Prompt,
    weights: Mapping[str, float],
    *,
    think: bool,
    think_max_words: int,
) -> tuple[Reward, ...]:
    """Score the completions of one prompt.

    Raises:
        RewardError: a reward function raised, or returned something that is no finite number.
    """
    functions = reward_functions(list(weights), think=think, think_max_words=think_max_words)
    return tuple(_score_one(text, prompt, weights, functions) for text in texts)


def _score_one(
    text: str,
    prompt: Prompt,
    weights: Mapping[str, float],
    functions: Mapping[str, RewardFunction],
) -> Reward:
    breakdown: dict[str, float] = {}
    for name, function in functions.items():
        try:
            value = function(text, prompt)
        except Exception as error:
            raise RewardError(
                f"reward {name!r} raised {error!r} on question {prompt.id!r}, completion "
                f"{text[:200]!r}"
            ) from error
        if not isinstance(value, Real) or not math.isfinite(value):
            raise RewardError(
                f"reward {name!r} returned {value!r} on question {prompt.id!r}, completion "
                f"{text[:200]!r}; wanted a finite number"
            )
        breakdown[name] = float(value)
    return Reward(total=sum(weights[n] * v for n, v in breakdown.items()), breakdown=breakdown)


def _imported(name: str) -> RewardFunction:
    module, _, function = name.partition(":")
    if not (module and function):
        near = difflib.get_close_matches(name, REWARDS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(REWARDS)}"
        raise ConfigError(
            f"unknown reward {name!r}; {hint} (one of yours is named module:function)"
        )
    try:
        found: RewardFunction = getattr(import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"reward {name!r} cannot be imported: {error}") from error
    if not callable(found):
        raise ConfigError(f"reward {name!r} is {found!r:.80}, wanted a function (text, prompt)")
    return found
