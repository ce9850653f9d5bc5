"""What of ours runs in each of vLLM's workers: mixed into them by ``worker_extension_cls``."""

from collections.abc import Callable
from typing import Any

from keomni_rl.engines.ipc_handles import whole_handles
from keomni_rl.engines.weight_names import WeightNames

WORKER_EXTENSION = "keomni_rl.engines.worker_extension.WorkerExtension"


class WorkerExtension(WeightNames):
    """Worker methods that an engine calls by name."""

    update_weights: Callable[[dict[str, Any]], None]
    """vLLM's own."""

    def update_weights_from_ipc(self, update_info: dict[str, Any]) -> None:
        """Take weights from GPU memory whose handles came as plain data."""
        handles = whole_handles(update_info["ipc_handles"])
        self.update_weights(update_info | {"ipc_handles": handles})
