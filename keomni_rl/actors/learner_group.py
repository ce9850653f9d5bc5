"""All learner ranks as one: rows spread over them by tokens, calls made on every rank at once."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray

from keomni_rl.actors.learner import Sent
from keomni_rl.actors.loss import first_line, is_loss
from keomni_rl.algorithms.aggregation import token_weights
from keomni_rl.config.schema import AlgoConfig
from keomni_rl.engines.specs import LearnerSpec
from keomni_rl.errors import LearnerLostError, WeightSyncError
from keomni_rl.storage.manifest import Listed
from keomni_rl.types import RolloutGroup

GRACE_S = 15.0
"""For Ray to notice that a rank is gone, after another one has complained."""


class LearnerGroup:
    """The learner as the driver sees it.

    Args:
        start: starts the actor of one rank and returns its handle.
        size: how many ranks.
        algo: the objective, for the weights of a step's tokens.
    """

    def __init__(self, start: Callable[[int], Any], size: int, algo: AlgoConfig) -> None:
        self._start_rank = start
        self._size = size
        self._algo = algo
        self._ranks: list[Any] = []

    async def start(self, spec: LearnerSpec) -> None:
        """Have all ranks meet and load; ``spec`` is that of rank 0 without the meeting point.

        Ranks that there were before end first: one that is left of a broken group is of no use.
        """
        self.close()
        self._ranks = [self._start_rank(rank) for rank in range(self._size)]
        [(address, port)] = await self._on([0], "rendezvous", ())
        await self._all(
            "start",
            *(
                (replace(spec, rank=n, master_address=address, master_port=port),)
                for n in range(len(self._ranks))
            ),
        )
        if spec.checkpoint_url:
            await self._all("forget_fetched", *[(spec.checkpoint_url,)] * len(self._ranks))

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
        """Wire names of everything that engines load after a first transfer."""
        names: list[str] = (await self._on([0], "weight_names", ()))[0]
        return names

    async def connect(
        self,
        destination: str,
        backend: str,
        handles: Sequence[Any],
        num_engine_workers: int,
        hang_s: float,
    ) -> None:
        """Open the way to a set of engines, again after the set has changed."""
        arguments = (destination, backend, list(handles), num_engine_workers, hang_s)
        await self._all("connect", *[arguments] * len(self._ranks))

    async def publish(self, destination: str, version: int) -> Sent:
        """Send the current weights to a set of engines that `connect` has opened the way to."""
        sent: Sent = (await self._all("publish", *[(destination, version)] * len(self._ranks)))[0]
        return sent

    async def resend(self, destination: str, handle: Any) -> Sent:
        """Give one more engine what a set of engines was given last."""
        sent: Sent = (await self._on([0], "resend", (destination, handle)))[0]
        return sent

    async def sleep(self) -> None:
        """See `LearnerEngine.sleep`."""
        await self._all("sleep", *[()] * len(self._ranks))

    async def wake(self) -> None:
        """See `LearnerEngine.wake`."""
        await self._all("wake", *[()] * len(self._ranks))

    async def save(self, place: Path | str) -> dict[str, Listed] | None:
        """Write the learner's part of a checkpoint; see `LearnerActor.save`."""
        listing: dict[str, Listed] | None
        listing, *_ = await self._all("save", *[(place,)] * len(self._ranks))
        return listing

    async def _all(self, method: str, *arguments: Sequence[Any]) -> list[Any]:
        return await self._on(range(len(self._ranks)), method, *arguments)

    async def _on(self, ranks: Sequence[int], method: str, *arguments: Sequence[Any]) -> list[Any]:
        """Call some ranks at once.

        Raises:
            LearnerLostError: a rank is gone, or a collective with the engines broke: the group
                cannot go on and has to be started anew.
        """
        calls = [
            asyncio.ensure_future(_answer(getattr(self._ranks[rank], method).remote(*args)))
            for rank, args in zip(ranks, arguments, strict=True)
        ]
        try:
            return list(await asyncio.gather(*calls))
        except ray.exceptions.RayError as error:
            cause = getattr(error, "cause", None)
            if isinstance(cause, WeightSyncError):
                raise LearnerLostError(f"{method}: {cause}") from error
            # When one rank dies the others fail in their collective, and may say so sooner.
            if lost := await self._find_lost():
                raise LearnerLostError(f"lost in {method}: {lost}") from error
            raise

    async def _find_lost(self) -> str | None:
        """Which rank is gone; a call to it fails, while one to a live rank may wait for long."""
        pings = {
            asyncio.ensure_future(_answer(rank.ping.remote())): number
            for number, rank in enumerate(self._ranks)
        }
        left, loop = set(pings), asyncio.get_running_loop()
        deadline = loop.time() + GRACE_S
        try:
            while left:
                done, left = await asyncio.wait(
                    left, timeout=deadline - loop.time(), return_when=asyncio.FIRST_COMPLETED
                )
                if not done:
                    break
                for ping in done:
                    if (error := ping.exception()) and is_loss(error):
                        return f"rank {pings[ping]} is gone ({first_line(error)})"
        finally:
            for ping in left:
                ping.cancel()
        return None

    def close(self) -> None:
        """End every rank at once."""
        for rank in self._ranks:
            ray.kill(rank)
        self._ranks = []


async def _answer(call: Any) -> Any:
    return await call


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
