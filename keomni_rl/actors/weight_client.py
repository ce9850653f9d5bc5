"""How the learner's rank 0 reaches all engines at once during a weight transfer."""

from collections.abc import Mapping, Sequence
from typing import Any

import ray

from keomni_rl.errors import WeightSyncError


class RayWeightClient:
    """vLLM's `VLLMWeightSyncClient` protocol over engine actors, with the version to label.

    vLLM's own Ray client passes everything in the request. This one puts a packed buffer into the
    object store once, whatever the number of engines, and every engine's node pulls it once.
    """

    def __init__(self, handles: Sequence[Any]) -> None:
        self._handles = list(handles)
        self.version = 0
        self.num_bytes = 0

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
        self._call("update_weights", info, ray.put(buffer))

    def finish_weight_update(self, weight_version: str | None = None) -> None:  # noqa: ARG002
        """Label the weights with `version` and let every engine go on."""
        self._call("finish_weight_update", self.version)

    def _call(self, method: str, *args: Any) -> None:
        try:
            ray.get([getattr(handle, method).remote(*args) for handle in self._handles])
        except ray.exceptions.RayActorError as error:
            raise WeightSyncError(f"an engine was lost in {method}") from error
