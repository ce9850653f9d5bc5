"""Weight transfer on one machine: how fast bytes move from the learner to those who load them.

The learner's side is the product's: source, packing, Ray client. The bytes are received by actors
that map them and touch every page. For how long generation stands still every run tells itself
(``publish/pause_s``).
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

import ray
import torch
from torch import nn

from benchmarks.result import compared
from keomni_rl.actors.weight_client import RayWeightClient
from keomni_rl.engines.cpu_weight_sender import CpuTrainerInitInfo, CpuTrainerWeightTransferEngine
from keomni_rl.engines.packed_weights import Unpacker
from keomni_rl.engines.shared_buffer import place
from keomni_rl.engines.weight_source import LearnerWeights
from keomni_rl.models.adapters import merged_weights

WIDTH, NUM_LAYERS, VOCABULARY = 512, 6, 75_000
PAGE = 4096
HANG_S = 600.0


class Receiver:
    """An engine actor without an engine."""

    def __init__(self) -> None:
        self._num_calls = 0
        self._unpacker = Unpacker()

    def init_weight_transfer(self, init_info: Any) -> str:  # noqa: ARG002
        """Where this is."""
        return place()

    def start_weight_update(self) -> None:
        """One call of a transfer."""
        self._num_calls += 1

    def update_weights(self, update_info: Any) -> None:
        """Map the buffers and have every page of every tensor."""
        self._num_calls += 1
        for _, tensor in self._unpacker.unpack(update_info["parts"]):
            tensor.view(torch.uint8).view(-1)[::PAGE].sum()

    def finish_weight_update(self, version: int) -> float:  # noqa: ARG002
        """Another call of a transfer."""
        self._num_calls += 1
        return 0.0

    def num_calls(self) -> int:
        """Of all transfers so far."""
        return self._num_calls


def language_model(num_layers: int, vocabulary: int) -> nn.Module:
    """The matrices of a decoder, random, float32."""
    layers = [
        nn.ModuleList(
            [
                *(nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(4)),
                *(nn.Linear(WIDTH, 4 * WIDTH, bias=False) for _ in range(3)),
            ]
        )
        for _ in range(num_layers)
    ]
    ends = (nn.Embedding(vocabulary, WIDTH), nn.Linear(WIDTH, vocabulary, bias=False))
    return nn.ModuleList([*ends, *layers])


def connect(
    network: nn.Module, receivers: Sequence[Any], wire_name: Callable[[str], str] = str
) -> Any:
    """The learner's way to some receivers."""
    client = RayWeightClient(receivers, hang_s=HANG_S, can_lose=False)
    source = LearnerWeights(merged_weights(network, None), wire_name)
    return CpuTrainerWeightTransferEngine.trainer_init(
        CpuTrainerInitInfo(rank=0), client=client, source=source
    )


def seconds(work: Callable[[], object]) -> float:
    """What one call takes."""
    started = time.monotonic()
    work()
    return time.monotonic() - started


def transfer_to_one(repetitions: int) -> dict[str, Any]:
    """Learner to one receiver against the same bytes copied once: at most 2.0 times the time."""
    rates, details = _with_ray(repetitions)
    return details | compared(
        "transfer_to_one", "one copy in memory", "GB/s", 0.5, rates["one"], rates["copy"]
    )


def transfer_to_four(repetitions: int) -> dict[str, Any]:
    """Learner to four receivers against one: at most 1.3 times the time."""
    rates, details = _with_ray(repetitions)
    return details | compared(
        "transfer_to_four", "a transfer to one", "GB/s", 1 / 1.3, rates["four"], rates["one"]
    )


def _with_ray(repetitions: int) -> tuple[dict[str, list[float]], dict[str, Any]]:
    from keomni_rl.actors.remote import join_ray

    join_ray(None)
    try:
        return measure_bytes(repetitions)
    finally:
        ray.shutdown()


def measure_bytes(repetitions: int) -> tuple[dict[str, list[float]], dict[str, Any]]:
    """GB/s of one copy in memory and of a transfer to one and to four receivers, in turn.

    Returns:
        Rates by what was done, and what else there is to say.
    """
    network = language_model(NUM_LAYERS, VOCABULARY)
    flat = torch.cat([parameter.detach().view(-1) for parameter in network.parameters()])
    room = torch.empty_like(flat)
    receivers = [ray.remote(Receiver).options(num_cpus=0).remote() for _ in range(6)]
    one, four = connect(network, receivers[:1]), connect(network, receivers[1:5])
    ways: dict[str, Callable[[], object]] = {
        "copy": lambda: room.copy_(flat),
        "one": one.send_weights,
        "four": four.send_weights,
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for repetition in range(repetitions + 1):
        for name, work in ways.items():
            rate = flat.nbytes / 1e9 / seconds(work)
            if repetition:  # the first round meets memory that was never touched
                rates[name].append(rate)
    few = connect(language_model(1, 100), receivers[5:])
    calls = {
        f"{len(sender.source.metadata())} parameters": _calls_of(sender, receiver)
        for sender, receiver in ((one, receivers[0]), (few, receivers[5]))
    }
    return rates, {"bytes": flat.nbytes, "calls of a transfer to one engine": calls}


def _calls_of(sender: Any, receiver: Any) -> int:
    before = ray.get(receiver.num_calls.remote())
    sender.send_weights()
    return int(ray.get(receiver.num_calls.remote()) - before)
