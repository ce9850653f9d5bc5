"""The learner's side of the ``cpu`` backend: packs weights and sends them through vLLM's API."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Protocol, Self

from vllm.distributed.weight_transfer.base import (
    TrainerInitInfo,
    TrainerWeightTransferEngine,
    VLLMWeightSyncClient,
    WeightSource,
)

from keomni_rl.engines.cpu_weight_transfer import BACKEND
from keomni_rl.engines.packed_weights import Packed
from keomni_rl.engines.weight_source import LearnerWeights


class StagingClient(VLLMWeightSyncClient, Protocol):
    """What this backend's sender needs beside vLLM's protocol."""

    def stage_weights(self, parts: Sequence[Packed]) -> None:
        """Bring weights to where engines can map them, while they go on generating.

        The update that follows is of these parts. Memory of parts that are not frozen is written
        to again with the next transfer, which begins when all engines have answered or are lost.
        """


@dataclass
class CpuTrainerInitInfo(TrainerInitInfo):
    """Trainer-side choice of this backend."""

    backend: ClassVar[str] = BACKEND
    frozen: dict[WeightSource, Packed | None] = field(default_factory=dict, kw_only=True)
    """Frozen weights that this learner rank has packed or seen pass, whoever got them."""


class CpuTrainerWeightTransferEngine(TrainerWeightTransferEngine[CpuTrainerInitInfo]):
    """The learner side: every rank iterates the source, rank 0 packs and sends.

    A source may be `LearnerWeights`, of which all that never changes is gathered and packed only
    once, or any other, whose weights all may change.
    """

    init_info_cls = CpuTrainerInitInfo
    client: StagingClient
    source: WeightSource
    _frozen: dict[WeightSource, Packed | None]
    _changing: Packed | None = None

    @classmethod
    def trainer_init(
        cls,
        init_info: CpuTrainerInitInfo,
        *,
        client: VLLMWeightSyncClient,
        source: WeightSource | None = None,
    ) -> Self:
        """Bind source and client; there is no communicator to open."""
        if source is None:
            raise ValueError("the cpu backend sends whole models and needs a WeightSource")
        engine = cls(client=client, source=source, is_sender=init_info.is_sender)
        engine._frozen = init_info.frozen
        if engine.is_sender:
            client.init_weight_transfer_engine({})
        return engine

    def send_weights(self) -> None:
        """Gather, pack and stage; then start, update, finish."""
        parts = self._pack()
        if not self.is_sender:
            return
        self.client.stage_weights(parts)
        self.client.start_weight_update()
        self.client.update_weights({})
        self.client.finish_weight_update()

    def _pack(self) -> list[Packed]:
        if not isinstance(self.source, LearnerWeights):
            return self._pack_changing(self.source)
        return [
            *self._pack_frozen(self.source.frozen),
            *self._pack_frozen(self.source.kept),
            *self._pack_changing(self.source.changing),
        ]

    def _pack_frozen(self, source: WeightSource) -> list[Packed]:
        if source not in self._frozen:
            self._frozen[source] = self._filled(None, source, is_frozen=True)
        packed = self._frozen[source]
        return [packed] if packed else []

    def _pack_changing(self, source: WeightSource) -> list[Packed]:
        self._changing = self._filled(self._changing, source, is_frozen=False)
        return [self._changing] if self._changing else []

    def _filled(
        self, room: Packed | None, source: WeightSource, *, is_frozen: bool
    ) -> Packed | None:
        """A source's weights, in room that is left of an earlier transfer of the same ones."""
        if not self.is_sender:
            for _ in source:  # the gather is a collective
                pass
            return None
        metas = source.metadata()
        if not metas:
            return None
        if room is None or room.metas != metas:
            room = Packed.room_for(metas, is_frozen=is_frozen)
        room.fill(source)
        return room
