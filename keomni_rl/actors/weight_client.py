"""How the learner's rank 0 reaches all engines at once during a weight transfer."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import ray

from keomni_rl.actors.loss import LOST, first_line, is_loss
from keomni_rl.errors import WeightSyncError

if TYPE_CHECKING:
    from keomni_rl.engines.packed_weights import Packed

SLOWEST_BYTES_PER_S = 20e6
"""An engine that takes weights more slowly than this, beyond its patience, counts as hung."""


class RayWeightClient:
    """vLLM's `VLLMWeightSyncClient` protocol over engine actors, with the version to label.

    vLLM's own Ray client passes everything in the request. This one also brings packed weights to
    engines: those of this `place` map the learner's own memory, for all others the object store
    takes one copy, which each of their nodes pulls once.

    Args:
        handles: of the engine actors.
        hang_s: seconds after which an engine that does not answer a call counts as lost.
        can_lose: an engine that is lost is left out from then on and the transfer goes on. Not so
            in a collective, which waits for everyone: there a loss raises WeightSyncError.
    """

    def __init__(self, handles: Sequence[Any], *, hang_s: float, can_lose: bool) -> None:
        self._handles = list(handles)
        self._hang_s = hang_s
        self._can_lose = can_lose
        self.version = 0
        self.num_bytes = 0
        """Of what the engines are being given, each."""
        self.pause_s = 0.0
        """For which generation stood still in the last transfer, in the slowest engine."""
        self.lost: dict[int, str] = {}
        """Position of an engine that was lost -> why."""
        self._places: dict[int, str] = {}
        """Position of an engine -> where it can open shared memory."""
        self._parts: list[Packed] = []
        """What is being sent, or was sent last."""
        self._frozen: list[Packed] = []
        """What was sent once and for all."""
        self._paths: dict[int, list[str]] = {}
        """Position of an engine -> under what name it finds each part."""

    def resend(self, handle: Any) -> dict[int, str]:
        """Give another engine all that these hold: what never changes and what was sent last.

        Returns:
            Why it was lost, under position 0, if so.
        """
        other = RayWeightClient([handle], hang_s=self._hang_s, can_lose=self._can_lose)
        parts = [*self._frozen, *(part for part in self._parts if not part.is_frozen)]
        other.version, other.num_bytes = self.version, sum(part.num_bytes for part in parts)
        other.init_weight_transfer_engine({})
        other.stage_weights(parts)
        other.start_weight_update()
        other.update_weights({})
        other.finish_weight_update()
        return other.lost

    def init_weight_transfer_engine(self, init_info: Mapping[str, Any]) -> None:
        """Let every engine join the rendezvous."""
        self._places = self._call("init_weight_transfer", dict(init_info))

    def stage_weights(self, parts: Sequence["Packed"]) -> None:
        """Bring packed weights to where each engine can map them; see `StagingClient`."""
        from keomni_rl.engines.shared_buffer import place

        self._parts = list(parts)
        self._frozen = [part for part in parts if part.is_frozen] or self._frozen
        here = place()
        far = [number for number, there in self._places.items() if there != here]
        paths = [part.buffer.path for part in parts]
        self._paths = dict.fromkeys(self._places, paths)
        if far:
            copies = [ray.put(part.buffer.bytes.numpy()) for part in parts]
            self._paths |= self._call("stage_weights", *copies, only=far)

    def start_weight_update(self) -> None:
        """Pause every engine and open the update."""
        self._call("start_weight_update")

    def update_weights(self, update_info: Any) -> None:
        """Tell every engine what to load, which is what was staged if anything was."""
        if not self._parts:
            self._call("update_weights", dict(update_info))
            return
        described = [part.describe() for part in self._parts]
        infos = {
            number: {
                "parts": [
                    part | {"path": path} for part, path in zip(described, paths, strict=True)
                ]
            }
            for number, paths in self._paths.items()
        }
        self._call_each("update_weights", {number: (info,) for number, info in infos.items()})

    def finish_weight_update(self, weight_version: str | None = None) -> None:  # noqa: ARG002
        """Label the weights with `version` and let every engine go on."""
        paused_s = self._call("finish_weight_update", self.version)
        self.pause_s = max(paused_s.values(), default=0.0)

    def _call(self, method: str, *args: Any, only: Sequence[int] | None = None) -> dict[int, Any]:
        """What each engine, or each of some, answers to a call."""
        numbers = range(len(self._handles)) if only is None else only
        return self._call_each(method, dict.fromkeys(numbers, args))

    def _call_each(self, method: str, arguments: Mapping[int, Sequence[Any]]) -> dict[int, Any]:
        calls = {
            getattr(self._handles[number], method).remote(*args): number
            for number, args in arguments.items()
            if number not in self.lost
        }
        if not calls:
            return {}
        patience_s = self._hang_s + self.num_bytes / SLOWEST_BYTES_PER_S
        answered, silent = ray.wait(list(calls), num_returns=len(calls), timeout=patience_s)
        for call in silent:
            self._lose(calls[call], f"it did not answer {method} within {patience_s:.0f} s")
        answers = {}
        for call in answered:
            try:
                answers[calls[call]] = ray.get(call)
            except LOST as error:
                if not is_loss(error):
                    raise
                self._lose(calls[call], f"lost in {method}: {first_line(error)}")
        return answers

    def _lose(self, number: int, cause: str) -> None:
        if not self._can_lose:
            raise WeightSyncError(f"engine {number}: {cause}; a collective cannot go on without it")
        self.lost[number] = cause
