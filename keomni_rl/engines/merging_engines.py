"""The engines' side of every backend: vLLM's own or ours, with adapters merged on the way in."""

from typing import Any

from vllm.distributed.weight_transfer.base import WeightTransferEngine
from vllm.distributed.weight_transfer.ipc_engine import IPCWeightTransferEngine
from vllm.distributed.weight_transfer.nccl_engine import NCCLWeightTransferEngine

from keomni_rl.engines.adapter_merge import AdapterMerger
from keomni_rl.engines.cpu_weight_transfer import CpuWeightTransferEngine


class _Loader:
    """A model as a backend sees it while weights come: something that loads them."""

    def __init__(self, model: Any, adapters: AdapterMerger) -> None:
        self._model, self._adapters = model, adapters

    def load_weights(self, weights: Any) -> Any:
        return self._model.load_weights(self._adapters.merged(weights))


class MergesAdapters(WeightTransferEngine[Any, Any]):
    """Goes before a backend among the bases of a class, and stands between it and the model."""

    model: Any
    _adapters: AdapterMerger

    def init_transfer_engine(self, init_info: Any) -> None:
        """Meet a learner; what an earlier one has sent is forgotten."""
        self._adapters = AdapterMerger(self.device)
        super().init_transfer_engine(init_info)

    def receive_weights(self, update_info: Any) -> None:
        """Receive weights as the backend does; the model loads them merged."""
        model = self.model
        self.model = _Loader(model, self._adapters)
        try:
            super().receive_weights(update_info)
        finally:
            self.model = model


class CpuEngine(MergesAdapters, CpuWeightTransferEngine):
    """Packed buffers in shared memory."""


class NcclEngine(MergesAdapters, NCCLWeightTransferEngine):
    """Broadcast from the learner's rank 0."""


class IpcEngine(MergesAdapters, IPCWeightTransferEngine):
    """Memory of the GPU that learner and engine are both on."""
