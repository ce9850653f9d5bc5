"""The reward actor: text in, rewards out, in a process of its own."""

from collections.abc import Mapping

from keomni_rl.rewards.score import score
from keomni_rl.types import Group, Reward


class RewardActor:
    """Scores the completions of groups."""

    def __init__(self, weights: Mapping[str, float], *, think: bool, think_max_words: int) -> None:
        self._weights = dict(weights)
        self._think = think
        self._think_max_words = think_max_words

    def score(self, group: Group) -> tuple[Reward, ...]:
        """Rewards of a group, in the order of its completions."""
        return score(
            [completion.text for completion in group.completions],
            group.prompt,
            self._weights,
            think=self._think,
            think_max_words=self._think_max_words,
        )
