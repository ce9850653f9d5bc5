"""The two roles that hold a vLLM engine: rollout actors sample groups, evaluator actors answer."""

import asyncio
import logging
import os
from collections.abc import Awaitable, Mapping
from typing import Any, ClassVar, TypeVar

import numpy as np
import ray
from numpy.typing import NDArray

from keomni_rl.actors.cluster_metrics import TOKENS, actor_board
from keomni_rl.actors.prediction import prediction_of
from keomni_rl.engines.network import keep_collectives_to
from keomni_rl.engines.specs import EngineSpec, Sampling
from keomni_rl.errors import EngineError
from keomni_rl.types import Clip, Group, GroupKey, Prediction, Prompt

log = logging.getLogger(__name__)
ResultT = TypeVar("ResultT")


HEALTH_EVERY_S = 1.0
"""How often an actor looks whether its engine is alive."""


class EngineActor:
    """An engine and the weight-transfer calls that the learner makes on it.

    A dead engine must end its actor, or Ray would send work to a shell for ever.

    Args:
        spec: of the engine.
        run: name of the run folder, for metrics.
    """

    role: ClassVar[str]

    def __init__(self, spec: EngineSpec, run: str) -> None:
        from keomni_rl.engines.rollout import RolloutEngine

        keep_collectives_to(ray.util.get_node_ip_address())
        self._board = actor_board(run, self.role)
        self._num_tokens = 0
        self._engine = RolloutEngine(spec)
        self._watch: asyncio.Task[None] | None = None

    async def ready(self) -> None:
        """Answer once the engine is up, and watch it from then on."""
        self._watch = self._watch or asyncio.create_task(self._watch_engine())

    async def _watch_engine(self) -> None:
        while True:
            await self._end_if_dead()
            await asyncio.sleep(HEALTH_EVERY_S)

    async def _or_end(self, call: Awaitable[ResultT]) -> ResultT:
        """Wait for a call on the engine; if it failed because the engine is dead, end the actor."""
        try:
            return await call
        except EngineError:
            await self._end_if_dead()
            raise

    async def _end_if_dead(self) -> None:
        try:
            await self._engine.check_health()
        except EngineError:
            log.error("the vLLM engine is dead; ending its actor so that it is replaced")
            os._exit(1)

    def _count(self, num_tokens: int) -> None:
        self._num_tokens += num_tokens
        self._board.show(TOKENS, self._num_tokens)

    async def compare_weight_names(self, sent: list[str]) -> tuple[list[str], list[str]]:
        """See `RolloutEngine.compare_weight_names`."""
        return await self._or_end(self._engine.compare_weight_names(sent))

    async def init_weight_transfer(self, init_info: Mapping[str, Any]) -> str:
        """See `RolloutEngine.init_weight_transfer`."""
        return await self._or_end(self._engine.init_weight_transfer(init_info))

    async def stage_weights(self, *buffers: NDArray[np.uint8]) -> list[str]:
        """See `RolloutEngine.stage_weights`; buffers come one by one so that Ray resolves them."""
        return self._engine.stage_weights(*buffers)

    async def start_weight_update(self) -> None:
        """See `RolloutEngine.start_weight_update`."""
        await self._or_end(self._engine.start_weight_update())

    async def update_weights(self, update_info: Mapping[str, Any]) -> None:
        """See `RolloutEngine.update_weights`."""
        await self._or_end(self._engine.update_weights(update_info))

    async def finish_weight_update(self, version: int) -> float:
        """See `RolloutEngine.finish_weight_update`."""
        return await self._or_end(self._engine.finish_weight_update(version))

    async def sleep(self) -> None:
        """See `RolloutEngine.sleep`."""
        await self._or_end(self._engine.sleep())

    async def wake(self, part: str) -> None:
        """See `RolloutEngine.wake`."""
        await self._or_end(self._engine.wake(part))

    async def shutdown(self) -> None:
        """End the engine's processes."""
        if self._watch:
            self._watch.cancel()
        self._engine.shutdown()


class RolloutActor(EngineActor):
    """Samples groups of completions."""

    role = "rollout"

    async def generate(
        self, key: GroupKey, prompt: Prompt, clip: Clip, sampling: Sampling
    ) -> Group:
        """The G completions of one prompt under the current weights."""
        group = await self._or_end(self._engine.generate(key, prompt, clip, sampling))
        self._count(sum(len(completion.token_ids) for completion in group.completions))
        return group


class EvaluatorActor(EngineActor):
    """Answers evaluation questions."""

    role = "evaluator"

    async def answer(
        self, key: GroupKey, prompt: Prompt, clip: Clip, sampling: Sampling
    ) -> Prediction:
        """The answers to one question, with the part in the answer tags taken out."""
        replies = await self._or_end(self._engine.answer(key, prompt, clip, sampling))
        num_tokens = sum(reply.num_tokens for reply in replies)
        self._count(num_tokens)
        return prediction_of(
            prompt.id,
            [reply.text for reply in replies],
            finish_reason=replies[0].finish_reason,
            num_tokens=num_tokens,
            policy_version=replies[0].policy_version,
        )
