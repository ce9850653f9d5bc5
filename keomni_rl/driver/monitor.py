"""Shows on Ray's metrics how a run or an evaluation stands.

Nothing is counted on a group's way: every few seconds values are read off what the driver keeps
anyway, so the cost does not depend on how many groups there are, and a gauge lives through a long
step. What actors alone know, such as the tokens that each samples, they show themselves.
"""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from keomni_rl.actors import cluster_metrics as shown
from keomni_rl.actors.cluster_metrics import Board, Metric
from keomni_rl.actors.pool import ActorPool
from keomni_rl.driver.account import Account
from keomni_rl.driver.answering import Answering
from keomni_rl.driver.evaluation import Evaluation
from keomni_rl.driver.run import Run
from keomni_rl.driver.slots import Slots

EVERY_S = 5.0
Sample = tuple[Metric, float, dict[str, str]]
"""A metric's value and its tags."""
OF_A_STEP = {
    r"time/group_(\w+)_s": (shown.GROUP_SECONDS, "stage"),
    r"time/(\w+)_s": (shown.STEP_SECONDS, "stage"),
    r"publish/bytes": (shown.PUBLISHED_BYTES, None),
    r"reward/(?:(\w+)_)?mean": (shown.REWARD, "part"),
    r"kl/(\w+)_mean": (shown.KL, "to"),
    r"loss/total": (shown.LOSS, None),
    r"learner/grad_norm": (shown.GRAD_NORM, None),
    r"rollout/completion_tokens_(\w+)": (shown.COMPLETION_TOKENS, "over"),
    r"rollout/(\w+)_share": (shown.ROLLOUT_RATIO, "of"),
    r"staleness/(\w+)": (shown.STALENESS, "over"),
}
"""Name in ``metrics.jsonl`` -> metric, and the tag that the part of the name in brackets is."""


@asynccontextmanager
async def monitored(run: str, read: Callable[[], Iterable[Sample]]) -> AsyncIterator[None]:
    """Show again and again what ``read`` gives, while the context is open.

    Args:
        run: name of the run folder.
        read: says how things stand.
    """
    board = Board(run)

    async def keep_showing() -> None:
        while True:
            for metric, value, tags in read():
                board.show(metric, value, **tags)
            await asyncio.sleep(EVERY_S)

    showing = asyncio.create_task(keep_showing())
    try:
        yield
    finally:
        showing.cancel()
        await asyncio.wait({showing})
        if not showing.cancelled():
            showing.result()


@dataclass(eq=False)
class TrainingMonitor:
    """Reads how a training run stands."""

    run: Run
    account: Account
    slots: Slots | None = None
    evaluation: Evaluation | None = None
    learner_restarts: int = 0
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Of the last step."""

    def read(self) -> Iterator[Sample]:
        """Everything there is to show."""
        yield shown.STEP, self.run.step, {}
        yield shown.MAX_STEPS, self.run.config.train.max_steps, {}
        yield from of_step(self.metrics)
        yield from of_account(self.account)
        for role, pool in self.run.pools.items():
            yield from of_pool(role, pool)
        yield shown.RESTARTS, self.learner_restarts, {"role": "learner"}
        if self.slots:
            yield from of_slots(self.slots)
        if self.evaluation:
            yield from of_evaluation(self.evaluation)
        yield from of_driver()


def of_step(metrics: Mapping[str, float]) -> Iterator[Sample]:
    """What a step's metrics say; of its reward, that without a part is the total."""
    for name, value in metrics.items():
        for pattern, (metric, tag) in OF_A_STEP.items():
            if found := re.fullmatch(pattern, name):
                yield metric, value, {tag: found[1] or "total"} if tag else {}
                break


def of_account(account: Account) -> Iterator[Sample]:
    """What became of the groups."""
    yield shown.STARTED, account.started, {}
    for reason, number in account.dropped.items():
        yield shown.DROPPED, number, {"reason": reason}


def of_pool(role: str, pool: ActorPool[Any]) -> Iterator[Sample]:
    """A role's actors and their work."""
    num_ready = len(pool.handles)
    yield shown.ACTORS, num_ready, {"role": role, "state": "ready"}
    yield shown.ACTORS, pool.num_actors - num_ready, {"role": role, "state": "starting"}
    yield shown.IN_HAND, pool.num_in_hand, {"role": role}
    yield shown.RESTARTS, pool.num_restarts, {"role": role}


def of_slots(slots: Slots) -> Iterator[Sample]:
    """Where the groups that are alive have come to."""
    states = {
        "waiting": slots.num_alive - slots.num_ready,
        "ready": slots.num_ready,
        "free": slots.config.slots - slots.num_alive,
    }
    for state, number in states.items():
        yield shown.SLOTS, number, {"state": state}


def of_evaluation(evaluation: Evaluation) -> Iterator[Sample]:
    """How far the evaluation under way is, and how the last one ended."""
    if evaluation.answering:
        yield from of_answering(evaluation.answering)
    if evaluation.last and evaluation.last.accuracy is not None:
        yield shown.ACCURACY, evaluation.last.accuracy, {}


def of_answering(answering: Answering) -> Iterator[Sample]:
    """How many of the questions are answered."""
    yield shown.QUESTIONS, len(answering.questions), {}
    yield shown.ANSWERED, len(answering.answered), {}


def of_evaluators(pool: ActorPool[Any], answering: Answering) -> Iterator[Sample]:
    """Everything there is to show of an evaluation without a training."""
    yield from of_pool("evaluator", pool)
    yield from of_answering(answering)
    yield from of_driver()


def of_driver() -> Iterator[Sample]:
    """What this process takes."""
    yield shown.DRIVER_SECONDS, time.process_time(), {}
