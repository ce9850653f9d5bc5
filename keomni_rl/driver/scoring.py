"""What groups are worth and how the reference sees them: groups that come together go together."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from keomni_rl.actors.batching import Batching
from keomni_rl.actors.learner_group import spread
from keomni_rl.actors.pool import ActorPool
from keomni_rl.types import FloatArray, Group, Reward

ResultT = TypeVar("ResultT")


class Scoring:
    """The reward and the reference actors, asked for one group at a time.

    Args:
        rewards: the reward actors.
        references: the reference actors; None when beta is 0.
    """

    def __init__(self, rewards: ActorPool[Any], references: ActorPool[Any] | None) -> None:
        self._rewards, self._references = rewards, references
        self._rewarded = Batching(self._reward_all)
        self._compared = Batching(self._compare_all)

    @property
    def pools(self) -> dict[str, ActorPool[Any] | None]:
        """Its actors by role."""
        return {"reward": self._rewards, "reference": self._references}

    async def rewards(self, group: Group) -> tuple[Reward, ...]:
        """Rewards of a group's completions."""
        return await self._rewarded.run(group)

    async def ref_logprobs(self, group: Group, clip: Any) -> tuple[FloatArray, ...] | None:
        """G arrays of [T] under the reference; None without one."""
        if self._references is None:
            return None
        return await self._compared.run((group, clip))

    async def _reward_all(self, groups: Sequence[Group]) -> list[tuple[Reward, ...]]:
        return await _shared_out(
            self._rewards,
            "the reward",
            groups,
            [1] * len(groups),
            lambda actor, share: actor.score.remote([groups[i] for i in share]),
        )

    async def _compare_all(
        self, pairs: Sequence[tuple[Group, Any]]
    ) -> list[tuple[FloatArray, ...]]:
        assert self._references
        groups, clips = zip(*pairs, strict=True)
        return await _shared_out(
            self._references,
            "the reference",
            groups,
            [len(g.prompt_ids) + sum(len(c.token_ids) for c in g.completions) for g in groups],
            lambda actor, share: actor.score.remote(
                [groups[i] for i in share], *(clips[i] for i in share)
            ),
        )


async def _shared_out(
    pool: ActorPool[list[ResultT]],
    what: str,
    groups: Sequence[Group],
    costs: Sequence[int],
    call: Callable[[Any, list[int]], Any],
) -> list[ResultT]:
    """Have all actors of a pool work on some groups; results in the groups' order."""

    async def answers(share: list[int]) -> list[ResultT]:
        return await pool.run(
            lambda actor, _: call(actor, share),
            cost=sum(costs[i] for i in share),
            name=f"{what} of {', '.join(_named(groups[i]) for i in share)}",
        )

    shares = spread(costs, min(len(groups), max(1, len(pool.handles))))
    parts = await asyncio.gather(*map(answers, shares))
    results = {
        index: result
        for share, part in zip(shares, parts, strict=True)
        for index, result in zip(share, part, strict=True)
    }
    return [results[index] for index in range(len(groups))]


def _named(group: Group) -> str:
    return f"group {group.key.index} (question {group.prompt.id!r})"
