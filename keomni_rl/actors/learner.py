"""The learner's ranks: each an actor around one DeepSpeed engine."""

import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray

from keomni_rl.actors.weight_client import RayWeightClient
from keomni_rl.engines.network import keep_collectives_to, open_door
from keomni_rl.engines.specs import LearnerSpec
from keomni_rl.storage.learner_files import (
    fetch_checkpoint,
    forget_fetched,
    scratch,
    upload_learner,
)
from keomni_rl.storage.manifest import Listed
from keomni_rl.types import Clip, FloatArray, RolloutGroup

if TYPE_CHECKING:
    from keomni_rl.engines.learner import LearnerEngine
    from keomni_rl.engines.weight_transfer import Backend


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What came of one weight transfer."""

    num_bytes: int
    """Given to each engine."""
    pause_s: float
    """For which generation stood still, in the slowest engine."""
    lost: Mapping[int, str]
    """Position of an engine that did not get the weights -> why."""


NOTHING_SENT = Sent(num_bytes=0, pause_s=0.0, lost={})


class LearnerActor:
    """One rank. Ranks meet at the address of rank 0, so construction is in two steps."""

    _engine: "LearnerEngine"

    def __init__(self) -> None:
        self._transfers: dict[str, tuple[RayWeightClient, Any]] = {}
        self._frozen: dict[Any, Any] = {}
        """Weights that never change, as they were packed once for all engines."""
        self._door: socket.socket | None = None

    def rendezvous(self) -> tuple[str, int]:
        """Open a door on this rank's node for all ranks to meet at; its address and port."""
        self._door = open_door(ray.util.get_node_ip_address())
        address, port = self._door.getsockname()[:2]
        return address, port

    def start(self, spec: LearnerSpec) -> None:
        """Join the other ranks and load the policy."""
        from keomni_rl.engines.learner import LearnerEngine

        keep_collectives_to(ray.util.get_node_ip_address())
        if spec.checkpoint_url:
            spec = replace(spec, checkpoint=fetch_checkpoint(spec.checkpoint_url))
        self._engine = LearnerEngine(spec, self._door)

    def forget_fetched(self, url: str) -> None:
        """Free the disk of what was fetched, when every rank has loaded it."""
        forget_fetched(url)

    def step(
        self,
        step: int,
        rollouts: Sequence[RolloutGroup],
        weights: Sequence[FloatArray],
        *clips: Clip,
    ) -> dict[str, float]:
        """See `LearnerEngine.step`; clips come one by one so that Ray resolves their references."""
        from keomni_rl.engines.rows import Row

        rows = [Row(*parts) for parts in zip(rollouts, clips, weights, strict=True)]
        return self._engine.step(rows, step)

    def weight_names(self) -> list[str]:
        """Wire names of everything that engines load after a first transfer."""
        from keomni_rl.engines.adapter_merge import loaded_names

        return loaded_names(meta.name for meta in self._engine.source.metadata())

    def ping(self) -> None:
        """Answer; an actor that is gone does not."""

    def connect(
        self,
        destination: str,
        backend: "Backend",
        handles: Sequence[Any],
        num_engine_workers: int,
        hang_s: float,
    ) -> None:
        """Open the way to a set of engines, which know nothing yet; every rank calls it."""
        from keomni_rl.engines.weight_transfer import COLLECTIVE, Transfer, open_transfer

        if destination in self._transfers:
            self._transfers.pop(destination)[1].shutdown()
        client = RayWeightClient(handles, hang_s=hang_s, can_lose=backend not in COLLECTIVE)
        transfer = Transfer(
            backend=backend,
            rank=self._engine.spec.rank,
            address=ray.util.get_node_ip_address(),
            num_engine_workers=num_engine_workers,
            frozen=self._frozen,
        )
        self._transfers[destination] = (
            client,
            open_transfer(transfer, client, self._engine.source),
        )

    def publish(self, destination: str, version: int) -> Sent:
        """Send the current weights under ``version``; every rank calls it, rank 0 sends.

        The first time they go whole, afterwards only what a step may have changed: of adapted
        matrices the adapters alone.
        """
        from keomni_rl.engines.weight_source import num_bytes

        client, sender = self._transfers[destination]
        client.version, client.num_bytes = version, num_bytes(sender.source.metadata())
        sender.send_weights()
        sender.source = self._engine.source.changing
        return Sent(num_bytes=client.num_bytes, pause_s=client.pause_s, lost=client.lost)

    def resend(self, destination: str, handle: Any) -> Sent:
        """Give one more engine what a set of engines holds; only rank 0 is asked."""
        client, _ = self._transfers[destination]
        lost = client.resend(handle)
        return Sent(num_bytes=client.num_bytes, pause_s=0.0, lost=lost)

    def sleep(self) -> None:
        """See `LearnerEngine.sleep`."""
        self._engine.sleep()

    def wake(self) -> None:
        """See `LearnerEngine.wake`."""
        self._engine.wake()

    def save(self, place: Path | str) -> dict[str, Listed] | None:
        """Write this rank's part of a checkpoint into an existing folder, or upload it to a URL.

        Returns:
            Of rank 0, for a URL: what it has uploaded.
        """
        if isinstance(place, Path):
            self._engine.save(place)
            return None
        rank = self._engine.spec.rank
        with scratch(place, rank) as folder:
            self._engine.save(folder)
            return upload_learner(folder, place) if rank == 0 else None
