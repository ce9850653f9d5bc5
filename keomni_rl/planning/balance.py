"""Seconds of a step by role, from rates alone, and how the same GPUs would be split best.

A role's time is what it takes when nothing else holds it up. Synchronous steps take rollout and
learner one after the other; with staleness they overlap, and the longest role sets the pace.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from keomni_rl.config.placement import RolePlacement
from keomni_rl.config.schema import RunConfig
from keomni_rl.planning.rates import Rates
from keomni_rl.planning.workload import Workload

DISTRIBUTED = ("rollout", "learner", "reference")


@dataclass(frozen=True, slots=True)
class Split:
    """Actors of each role; 0 references where there is no KL."""

    rollout: int
    learner: int
    reference: int


@dataclass(frozen=True, slots=True)
class RoleTimes:
    """Seconds of one step."""

    rollout: float
    learner: float
    reference: float
    publish: float

    def step_s(self, *, overlaps: bool) -> float:
        """Of the loop, without what idles for other reasons."""
        updated = self.learner + self.publish
        if overlaps:
            return max(self.rollout + self.publish, self.reference, updated)
        return max(self.rollout, self.reference) + updated

    @property
    def bottleneck(self) -> str:
        """The role that takes longest; publication counts to the learner."""
        times = {
            "rollout": self.rollout,
            "reference": self.reference,
            "learner": self.learner + self.publish,
        }
        return max(times, key=lambda role: times[role])


def split_of(config: RunConfig) -> Split:
    """As it is configured."""
    place = config.placement
    references = place.reference.actors if config.algo.beta > 0 else 0
    return Split(place.rollout.actors, place.learner.actors, references)


def role_times(
    split: Split, rates: Rates, workload: Workload, *, num_bytes: float, most_sequences: int
) -> RoleTimes:
    """What each role takes of one step under a split.

    Args:
        split: actors of each role.
        rates: of one actor.
        workload: of the step.
        num_bytes: of one publication.
        most_sequences: completions that one engine works on at once.
    """
    w = workload
    groups = -(-w.groups_per_step // split.rollout)
    sequences = groups * w.group_size
    waves = -(-sequences // most_sequences)
    decoding = waves * w.completion_tokens * rates.decode.seconds(sequences / waves)
    rows = -(-w.groups_per_step // split.learner)
    reference = 0.0
    if split.reference:
        scored = -(-w.groups_per_step // split.reference)
        reference = scored * rates.reference.seconds(w.row_tokens)
    return RoleTimes(
        rollout=groups * rates.prefill.seconds(w.prompt_tokens) + decoding,
        learner=rates.learner.seconds(rows * w.row_tokens),
        reference=reference,
        publish=rates.transfer.seconds(num_bytes),
    )


def best_splits(
    config: RunConfig,
    time_of: Callable[[Split], RoleTimes],
    fits: Callable[[Split], bool] = lambda _: True,
    number: int = 8,
) -> list[Split]:
    """Splits of the configured GPUs, or threads, with the shortest steps, the shortest first.

    Args:
        config: of the run.
        time_of: `role_times` of a split.
        fits: whether a split's actors have the memory that they need.
        number: of splits, at most.
    """
    overlaps = config.train.max_staleness > 0
    possible = [split for split in _splits(config, split_of(config)) if fits(split)]
    return sorted(possible, key=lambda split: time_of(split).step_s(overlaps=overlaps))[:number]


def _splits(config: RunConfig, configured: Split) -> Iterator[Split]:
    place = config.placement
    units = {role: unit(getattr(place, role)) for role in DISTRIBUTED}
    total = sum(getattr(configured, role) * units[role] for role in DISTRIBUTED)
    references = range(1, config.train.groups_per_step + 1) if configured.reference else [0]
    for learner in range(1, config.train.groups_per_step + 1):
        for reference in references:
            left = total - learner * units["learner"] - reference * units["reference"]
            if left >= units["rollout"]:
                yield Split(left // units["rollout"], learner, reference)


def unit(placement: RolePlacement) -> int:
    """GPUs of one actor, or its threads if it has none."""
    return placement.gpus or placement.num_threads
