"""All learner ranks as one: rows spread over them by tokens, calls made on every rank at once."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from keomni_rl.actors.learner import LearnerActor
from keomni_rl.actors.remote import start_actor
from keomni_rl.algorithms.aggregation import token_weights
from keomni_rl.config.schema import AlgoConfig, RolePlacement
from keomni_rl.engines.specs import LearnerSpec
from keomni_rl.types import RolloutGroup


class LearnerGroup:
    """The learner as the driver sees it."""

    def __init__(self, placement: RolePlacement, algo: AlgoConfig) -> None:
        self._algo = algo
        self._ranks = [start_actor(LearnerActor, placement) for _ in range(placement.actors)]

    async def start(self, spec: LearnerSpec) -> None:
        """Have all ranks meet and load; ``spec`` is that of rank 0 without the meeting point."""
        address, port = await self._ranks[0].rendezvous.remote()
        await self._all(
            "start",
            *(
                (replace(spec, rank=n, master_address=address, master_port=port),)
                for n in range(len(self._ranks))
            ),
        )

    async def step(
        self, step: int, rollouts: Sequence[RolloutGroup], clips: Sequence[Any]
    ) -> dict[str, float]:
        """Take one optimizer step on some groups.

        Args:
            step: optimizer steps done before.
            rollouts: scored groups.
            clips: a reference to each one's `Clip`.

        Returns:
            Metrics over all ranks.
        """
        lengths = [len(c.token_ids) for r in rollouts for c in r.group.completions]
        flat = token_weights(
            lengths, self._algo.aggregation, constant_tokens=self._algo.aggregation_tokens
        )
        ends = [0]
        for rollout in rollouts:
            ends.append(ends[-1] + len(rollout.group.completions))
        shares = spread([r.num_tokens for r in rollouts], len(self._ranks))
        metrics = await self._all(
            "step",
            *(
                (
                    step,
                    [rollouts[i] for i in share],
                    [flat[ends[i] : ends[i + 1]] for i in share],
                    *(clips[i] for i in share),
                )
                for share in shares
            ),
        )
        return dict(metrics[0])

    async def weight_names(self) -> list[str]:
        """Wire names of everything that a transfer sends."""
        names: list[str] = await self._ranks[0].weight_names.remote()
        return names

    async def connect(
        self, destination: str, backend: str, handles: Sequence[Any], num_engine_workers: int
    ) -> None:
        """Open the way to a set of engines, again after the set has changed."""
        arguments = (destination, backend, list(handles), num_engine_workers)
        await self._all("connect", *[arguments] * len(self._ranks))

    async def publish(self, destination: str, version: int) -> int:
        """Send the current weights; returns their size in bytes."""
        sent = await self._all("publish", *[(destination, version)] * len(self._ranks))
        return max(sent)

    async def save(self, folder: Path) -> None:
        """Write the learner's part of a checkpoint."""
        await self._all("save", *[(folder,)] * len(self._ranks))

    async def _all(self, method: str, *arguments: Sequence[Any]) -> list[Any]:
        calls = zip(self._ranks, arguments, strict=True)
        return list(
            await asyncio.gather(*(getattr(rank, method).remote(*args) for rank, args in calls))
        )


def spread(num_tokens: Sequence[int], num_ranks: int) -> list[list[int]]:
    """Indices of rows for each rank: the longest first, each to the rank with the fewest tokens.

    Every rank gets at least one row when there are as many rows as ranks.
    """
    shares: list[list[int]] = [[] for _ in range(num_ranks)]
    loads = [0] * num_ranks
    for index in sorted(range(len(num_tokens)), key=lambda i: (-num_tokens[i], i)):
        rank = loads.index(min(loads))
        shares[rank].append(index)
        loads[rank] += num_tokens[index]
    return [sorted(share) for share in shares]
