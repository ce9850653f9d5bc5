"""How the learner's rank 0 reaches all engines at once during a weight transfer."""

from collections.abc import Mapping, Sequence
from typing import Any

import ray

from keomni_rl.actors.loss import LOST, first_line, is_loss
from keomni_rl.errors import WeightSyncError

SLOWEST_BYTES_PER_S = 20e6
"""An engine that takes weights more slowly than this, beyond its patience, counts as hung."""


class RayWeightClient:
    """vLLM's `VLLMWeightSyncClient` protocol over engine actors, with the version to label.

    vLLM's own Ray client passes everything in the request. This one puts a packed buffer into the
    object store once, whatever the number of engines, and every engine's node pulls it once.

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
        self.lost: dict[int, str] = {}
        """Position of an engine that was lost -> why."""
        self._last_update: tuple[Any, ...] = ()
        """What the engines were given last; its buffer stays in the object store."""

    def resend(self, handle: Any) -> dict[int, str]:
        """Give another engine what these were given last.

        Returns:
            Why it was lost, under position 0, if so.
        """
        other = RayWeightClient([handle], hang_s=self._hang_s, can_lose=self._can_lose)
        other.version, other.num_bytes = self.version, self.num_bytes
        other.init_weight_transfer_engine({})
        other.start_weight_update()
        other._call("update_weights", *self._last_update)
        other.finish_weight_update()
        return other.lost

    def init_weight_transfer_engine(self, init_info: Mapping[str, Any]) -> None:
        """Let every engine join the rendezvous."""
        self._call("init_weight_transfer", dict(init_info))

    def start_weight_update(self) -> None:
        """Pause every engine and open the update."""
        self._call("start_weight_update")

    def update_weights(self, update_info: Any) -> None:
        """Send metadata, and the buffer if the backend has one, to every engine."""
        info = dict(update_info)
        buffer = info.pop("buffer", None)
        if buffer is None:
            self._call("update_weights", info)
            return
        self.num_bytes = buffer.nbytes
        self._last_update = (info, ray.put(buffer))
        self._call("update_weights", *self._last_update)

    def finish_weight_update(self, weight_version: str | None = None) -> None:  # noqa: ARG002
        """Label the weights with `version` and let every engine go on."""
        self._call("finish_weight_update", self.version)

    def _call(self, method: str, *args: Any) -> None:
        calls = {
            getattr(handle, method).remote(*args): number
            for number, handle in enumerate(self._handles)
            if number not in self.lost
        }
        if not calls:
            return
        patience_s = self._hang_s + self.num_bytes / SLOWEST_BYTES_PER_S
        answered, silent = ray.wait(list(calls), num_returns=len(calls), timeout=patience_s)
        for call in silent:
            self._lose(calls[call], f"it did not answer {method} within {patience_s:.0f} s")
        for call in answered:
            try:
                ray.get(call)
            except LOST as error:
                if not is_loss(error):
                    raise
                self._lose(calls[call], f"lost in {method}: {first_line(error)}")

    def _lose(self, number: int, cause: str) -> None:
        if not self._can_lose:
            raise WeightSyncError(f"engine {number}: {cause}; a collective cannot go on without it")
        self.lost[number] = cause
