"""The whole plan of a run: what `keomni-rl plan` shows."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from keomni_rl.config.schema import RunConfig
from keomni_rl.planning.advice import advise
from keomni_rl.planning.balance import RoleTimes, Split, best_splits, role_times, split_of
from keomni_rl.planning.memory import ELEMENT, GIB, RoleMemory, kv_cache, learner_memory, run_memory
from keomni_rl.planning.rates import Machine, Rate, Rates
from keomni_rl.planning.shape import ModelShape
from keomni_rl.planning.simulation import Simulated, simulate
from keomni_rl.planning.workload import Workload

REPLICAS = tuple(2**n for n in range(11))
"""Of rollout actors: 1 to 1,024."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Where the time of a step goes."""

    workload: Workload
    times: RoleTimes
    bottleneck: str
    configured: Split
    configured_step_s: float
    """Simulated."""
    best: Split
    best_step_s: float
    scaling: tuple[Simulated, ...]
    """Over numbers of rollout actors, all else as configured."""
    mismatches: tuple[str, ...]
    """In what the rates were taken elsewhere."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run will take."""

    memory: tuple[RoleMemory, ...]
    transfer_bytes: float
    """Sent to each rollout actor after each step, without what aligns tensors in a buffer."""
    transfer_s: float | None
    """Expected seconds of one; None where neither a bandwidth nor rates are given."""
    timing: Timing | None
    """None without rates, or in supervised training, which has no rollouts to balance."""
    advice: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def make_plan(
    config: RunConfig,
    shape: ModelShape,
    *,
    gpu_gib: float | None = None,
    rates: Rates | None = None,
    bandwidth: float | None = None,
    machine: Machine | None = None,
) -> Plan:
    """Plan a run.

    Args:
        config: of the run.
        shape: of its model.
        gpu_gib: memory of each GPU.
        rates: measured speeds; without them nothing is said of time.
        bandwidth: of a transfer, in bytes a second, in place of the measured one.
        machine: this one, which the rates are compared with.
    """
    num_bytes = transfer_bytes(config, shape)
    transfer = rates.transfer if rates else None
    if bandwidth:
        transfer = Rate(fixed_s=0.0, per_s=bandwidth)
    if rates and transfer:
        rates = rates.model_copy(update={"transfer": transfer})
    memory = run_memory(config, shape, gpu_gib)
    timing = None
    if rates and config.algo.kind == "grpo":
        timing = _timing(config, shape, rates, gpu_gib, machine)
    return Plan(
        memory=tuple(memory),
        transfer_bytes=num_bytes,
        transfer_s=transfer.seconds(num_bytes) if transfer else None,
        timing=timing,
        advice=tuple(advise(config, shape, memory, gpu_gib)),
    )


def transfer_bytes(config: RunConfig, shape: ModelShape) -> float:
    """Of what learns, after each step: other weights engines have from the first transfer."""
    return shape.num_trained * ELEMENT[config.model.dtype]


def _timing(
    config: RunConfig,
    shape: ModelShape,
    rates: Rates,
    gpu_gib: float | None,
    machine: Machine | None,
) -> Timing:
    longest = Workload.longest(config)
    workload = longest.measured(
        rates.prompt_tokens or longest.prompt_tokens,
        rates.completion_tokens or longest.completion_tokens,
        rates.completion_std,
    )
    num_bytes = transfer_bytes(config, shape)
    cache = kv_cache(config, shape, "rollout", workload, gpu_gib)
    most = max(1, cache.completions)
    time_of = partial(
        role_times, rates=rates, workload=workload, num_bytes=num_bytes, most_sequences=most
    )
    run = partial(
        simulate, rates=rates, workload=workload, num_bytes=num_bytes, most_sequences=most
    )
    configured = split_of(config)

    def fits(split: Split) -> bool:
        if gpu_gib is None or not config.placement.learner.gpus:
            return True
        return learner_memory(with_split(config, split), shape, longest).num_bytes <= gpu_gib * GIB

    steps_s = {
        split: run(with_split(config, split), replicas=split.rollout).step_s
        for split in dict.fromkeys([configured, *best_splits(config, time_of, fits)])
    }
    best = min(steps_s, key=lambda split: steps_s[split])  # of equals the configured one
    times = time_of(configured)
    return Timing(
        workload=workload,
        times=times,
        bottleneck=times.bottleneck,
        configured=configured,
        configured_step_s=steps_s[configured],
        best=best,
        best_step_s=steps_s[best],
        scaling=tuple(run(config, replicas=number) for number in REPLICAS),
        mismatches=tuple(mismatches(config, shape, rates, machine)),
    )


def with_split(config: RunConfig, split: Split) -> RunConfig:
    """The same run with other numbers of actors."""
    place = config.placement
    changed = {
        role: getattr(place, role).model_copy(update={"actors": number})
        for role, number in asdict(split).items()
        if number
    }
    return config.model_copy(update={"placement": place.model_copy(update=changed)})


def mismatches(
    config: RunConfig, shape: ModelShape, rates: Rates, machine: Machine | None
) -> Sequence[str]:
    """In what rates were taken on something else than is planned for."""
    found = []
    if rates.model != shape.digest:
        found.append(f"rates are of a model {rates.model}, this one is {shape.digest}")
    if rates.dtype != config.model.dtype:
        found.append(f"rates are in {rates.dtype}, this run in {config.model.dtype}")
    if machine and machine != rates.machine:
        found.append(f"rates were taken on {_told(rates.machine)}, this is {_told(machine)}")
    for role, number in rates.units.items():
        place = getattr(config.placement, role, None)
        if place and (place.gpus or place.num_threads) != number:
            found.append(
                f"rates of a {role} actor are with {number} GPUs or threads, this run gives it "
                f"{place.gpus or place.num_threads}"
            )
    return found


def _told(machine: Machine) -> str:
    gpu = f", {machine.gpu}" if machine.gpu else ""
    return f"{machine.cores} x {machine.cpu}{gpu}"
