"""The reward actor: text in, rewards out, in a process of its own."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from keomni_rl.rewards.score import reward_functions, score
from keomni_rl.types import Group, Reward


class RewardActor:
    """Scores the completions of groups.

    Args:
        weights: name of a reward -> its weight in the sum.
        think: whether a think is asked for.
        think_max_words: the limit that the prompt names; 0 names none.
        timeout_s: seconds for a reward of the user's own over one completion.
        compat: accuracy and format as the seeds computed them.
        math_verify: accuracy takes mathematics into account.
        folder: where the user's own rewards are; by default this process's working directory.
    """

    def __init__(
        self,
        weights: Mapping[str, float],
        *,
        think: bool,
        think_max_words: int,
        timeout_s: float,
        compat: bool = False,
        math_verify: bool = False,
        folder: Path | None = None,
    ) -> None:
        self._weights = dict(weights)
        self._rewards = reward_functions(
            list(weights),
            think=think,
            think_max_words=think_max_words,
            compat=compat,
            math_verify=math_verify,
            folder=folder,
            timeout_s=timeout_s,
        )

    def ready(self) -> None:
        """Answer once the user's own rewards are imported."""
        self._rewards.start()

    def score(self, groups: Sequence[Group]) -> list[tuple[Reward, ...]]:
        """Rewards of some groups, each in the order of its completions."""
        return [self._score(group) for group in groups]

    def _score(self, group: Group) -> tuple[Reward, ...]:
        texts = [completion.text for completion in group.completions]
        return score(texts, group.prompt, self._weights, self._rewards.functions)

    def shutdown(self) -> None:
        """End the processes that rewards run in."""
        self._rewards.close()
