"""The loop as discrete events: slots, rollout engines, scoring, the learner, publication.

It follows `keomni_rl.driver.slots` and `keomni_rl.driver.loop`: as many groups are alive as there
are slots, each goes to the rollout actor with the least outstanding work, a step takes those that
the slot rule says, and a slot is free when its step's weights are published, which pauses rollouts.
What dynamic sampling discards, evaluation and checkpoints are not simulated.
"""

from collections import deque
from collections.abc import Generator
from dataclasses import dataclass
from statistics import mean
from typing import Any

import numpy as np
import simpy

from keomni_rl.algorithms.slot_rule import choose_groups
from keomni_rl.config.placement import RolePlacement
from keomni_rl.config.schema import RunConfig
from keomni_rl.planning.cores import Cores
from keomni_rl.planning.rates import Rate, Rates
from keomni_rl.planning.workload import Workload

Steps = Generator[simpy.Event, Any, None]
STRIDE = 4
"""Tokens that an engine decodes at once while no prompt is on its way; else one, as vLLM does."""
WARM_UP_STEPS = 3
"""Not counted: the loop has to fill first."""
UNLIMITED = float("inf")


@dataclass(frozen=True, slots=True)
class Simulated:
    """What a number of steps came to, on average."""

    replicas: int
    step_s: float
    learner_idle: float
    """Share of the time that the learner's ranks neither learn nor publish."""
    rollout_idle: float
    """Share of the time that a rollout actor has nothing to sample."""
    started: int
    trained: int
    alive: int
    """Groups when the simulation ended; with those trained, all that were started."""


@dataclass(eq=False)
class _Group:
    sampled: simpy.Event
    lengths: list[int]
    """Of its completions, in tokens."""
    left: int = 0
    """Completions that are not finished."""


@dataclass(eq=False)
class _Sequence:
    group: _Group
    left: int
    """Tokens still to come."""


class _Noise:
    """Seeded factors around 1 with a rate's spread (log-normal, mean 1)."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)

    def of(self, rate: Rate) -> float:
        if not rate.spread:
            return 1.0
        sigma = float(np.sqrt(np.log1p(rate.spread**2)))
        return float(self._rng.lognormal(-(sigma**2) / 2, sigma))

    def normal(self, average: float, deviation: float, number: int) -> np.ndarray:
        return self._rng.normal(average, deviation, number)


class _Engine:
    """One rollout actor: takes prompts in one by one, decodes all its completions together."""

    def __init__(self, loop: "_Loop", threads: int) -> None:
        self._loop = loop
        self._threads = threads
        self._fresh: deque[_Group] = deque()
        self._waiting: deque[_Sequence] = deque()
        self._running: list[_Sequence] = []
        self._wake = loop.env.event()
        self.outstanding = 0.0
        self.busy_s = 0.0
        loop.env.process(self._work())

    def give(self, group: _Group) -> None:
        self._fresh.append(group)
        if not self._wake.triggered:
            self._wake.succeed()

    def forget(self) -> None:
        """New weights: what is running has to be taken in again."""
        running = (sequence.group for sequence in self._running)
        self._fresh = deque(dict.fromkeys([*running, *self._fresh]))

    def _work(self) -> Steps:
        env = self._loop.env
        while True:
            if not (self._fresh or self._waiting or self._running):
                self._wake = env.event()
                yield self._wake
            yield self._loop.open
            started = env.now
            if self._fresh:
                yield from self._take_in(self._fresh.popleft())
            else:
                yield from self._decode()
            self.busy_s += env.now - started

    def _take_in(self, group: _Group) -> Steps:
        if group.sampled.triggered:  # it ended while the weights were on their way
            return
        rate = self._loop.rates.prefill
        seconds = rate.seconds(self._loop.workload.prompt_tokens) * self._loop.noise.of(rate)
        yield from self._loop.cores.work(seconds, self._threads)
        if not group.left:
            group.left = len(group.lengths)
            self._waiting.extend(_Sequence(group, length) for length in group.lengths)

    def _decode(self) -> Steps:
        while self._waiting and len(self._running) < self._loop.most_sequences:
            self._running.append(self._waiting.popleft())
        rate = self._loop.rates.decode
        most = 1 if self._loop.num_coming else STRIDE
        tokens = min(most, min(sequence.left for sequence in self._running))
        seconds = tokens * rate.seconds(len(self._running)) * self._loop.noise.of(rate)
        yield from self._loop.cores.work(seconds, self._threads)
        for sequence in self._running:
            sequence.left -= tokens
            if not sequence.left:
                sequence.group.left -= 1
                if not sequence.group.left:
                    sequence.group.sampled.succeed()
        self._running = [sequence for sequence in self._running if sequence.left]


@dataclass(eq=False)
class _Scorer:
    """One reference actor: one group after the other."""

    turn: simpy.Resource
    outstanding: int = 0


class _Loop:
    def __init__(
        self,
        config: RunConfig,
        rates: Rates,
        workload: Workload,
        *,
        num_bytes: float,
        replicas: int,
        most_sequences: int,
        seed: int,
    ) -> None:
        self.env = simpy.Environment()
        self.config, self.rates, self.workload = config, rates, workload
        self.most_sequences = most_sequences
        self.noise = _Noise(seed)
        self._num_bytes = num_bytes
        place = config.placement
        self._shared = Cores(self.env, rates.machine.cores)
        self._own = Cores(self.env, UNLIMITED)
        self.cores = self._cores(place.rollout)
        self.open = self.env.event()  # engines work while it has happened
        self.open.succeed()
        self.engines = [_Engine(self, place.rollout.num_threads) for _ in range(replicas)]
        self._scorers = [_Scorer(simpy.Resource(self.env)) for _ in range(place.reference.actors)]
        self._audio = simpy.Resource(self.env, place.audio.actors)
        self._reward = simpy.Resource(self.env, place.reward.actors)
        self._alive: dict[int, int] = {}
        self._ready: set[int] = set()
        self._comes = self.env.event()
        self.num_coming = 0
        """Groups whose clip is being decoded."""
        self.started = self.trained = self._version = 0
        self.learner_busy_s = 0.0
        self.step_s: list[float] = []

    def _cores(self, placement: RolePlacement) -> Cores:
        return self._own if placement.gpus else self._shared

    @property
    def alive(self) -> int:
        return len(self._alive)

    def run(self, num_steps: int) -> None:
        """Take some steps."""
        self.env.run(self.env.process(self._train(num_steps)))

    def _train(self, num_steps: int) -> Steps:
        self._fill()
        for _ in range(num_steps):
            started = self.env.now
            while (batch := self._choose()) is None:
                self._comes = self.env.event()
                yield self._comes
            collected = self.env.now
            yield from self._learn()
            yield from self._publish()
            self.learner_busy_s += self.env.now - collected
            for index in batch:
                del self._alive[index]
            self._ready -= {*batch}
            self.trained += len(batch)
            self._version += 1
            self._fill()
            self.step_s.append(self.env.now - started)

    def _choose(self) -> list[int] | None:
        train = self.config.train
        if len(self._ready) < train.groups_per_step:
            return None
        return choose_groups(
            self._alive,
            self._ready,
            size=train.groups_per_step,
            max_staleness=train.max_staleness,
            version=self._version,
        )

    def _fill(self) -> None:
        while len(self._alive) < self.config.slots:
            self._alive[self.started] = self._version
            group = _Group(self.env.event(), self._lengths())
            self.env.process(self._travel(self.started, group))
            self.started += 1

    def _lengths(self) -> list[int]:
        """As the policy ends its answers, cut where the engine cuts them."""
        w = self.workload
        drawn = self.noise.normal(w.completion_tokens, w.completion_std, w.group_size)
        return [int(n) for n in np.clip(drawn.round(), 1, self.config.rollout.max_new_tokens)]

    def _travel(self, index: int, group: _Group) -> Steps:
        self.num_coming += 1
        yield from self._helped(self._audio, self.rates.audio)
        self.num_coming -= 1
        engine = min(self.engines, key=lambda one: one.outstanding)
        rollout = self.config.rollout
        cost = self.workload.prompt_tokens + rollout.group_size * rollout.max_new_tokens
        engine.outstanding += cost
        engine.give(group)
        yield group.sampled
        engine.outstanding -= cost
        scores = [self._helped(self._reward, self.rates.reward)]
        if self.config.algo.beta > 0:
            scores.append(self._refer())
        yield self.env.all_of([self.env.process(score) for score in scores])
        self._ready.add(index)
        if not self._comes.triggered:
            self._comes.succeed()

    def _helped(self, helper: simpy.Resource, rate: Rate) -> Steps:
        """One clip or group at an actor that takes them one by one, on a shared core."""
        with helper.request() as turn:
            yield turn
            yield from self._shared.work(rate.seconds(1) * self.noise.of(rate), 1)

    def _refer(self) -> Steps:
        place, rate = self.config.placement.reference, self.rates.reference
        scorer = min(self._scorers, key=lambda one: one.outstanding)
        scorer.outstanding += 1
        with scorer.turn.request() as turn:
            yield turn
            seconds = rate.seconds(self.workload.row_tokens) * self.noise.of(rate)
            yield from self._cores(place).work(seconds, place.num_threads)
        scorer.outstanding -= 1

    def _learn(self) -> Steps:
        """All ranks at once, the fullest of them as long as the others wait."""
        place, rate = self.config.placement.learner, self.rates.learner
        rows = -(-self.workload.groups_per_step // place.actors)
        seconds = rate.seconds(rows * self.workload.row_tokens) * self.noise.of(rate)
        yield from self._cores(place).work(seconds, place.num_threads * place.actors)

    def _publish(self) -> Steps:
        rate = self.rates.transfer
        self.open = self.env.event()
        yield self.env.timeout(rate.seconds(self._num_bytes) * self.noise.of(rate))
        for engine in self.engines:
            engine.forget()
        self.open.succeed()


def simulate(
    config: RunConfig,
    rates: Rates,
    workload: Workload,
    *,
    num_bytes: float,
    replicas: int,
    most_sequences: int | None = None,
    num_steps: int = 20,
    seed: int = 0,
) -> Simulated:
    """Run the loop for some steps with a number of rollout actors.

    Args:
        config: of the run; its own number of rollout actors is not looked at.
        rates: of every role.
        workload: of one step.
        num_bytes: of one publication.
        replicas: rollout actors.
        most_sequences: completions that one engine works on at once; None takes the
            configuration's ``engine.max_num_seqs``.
        num_steps: counted, after some that fill the loop.
        seed: of the spread.
    """
    loop = _Loop(
        config,
        rates,
        workload,
        num_bytes=num_bytes,
        replicas=replicas,
        most_sequences=most_sequences or config.engine.max_num_seqs,
        seed=seed,
    )
    loop.run(WARM_UP_STEPS)
    started, learner_s = loop.env.now, loop.learner_busy_s
    engine_s = [engine.busy_s for engine in loop.engines]
    loop.run(num_steps)
    passed = loop.env.now - started
    busy = mean(engine.busy_s - was for engine, was in zip(loop.engines, engine_s, strict=True))
    return Simulated(
        replicas=replicas,
        step_s=passed / num_steps,
        learner_idle=max(0.0, 1 - (loop.learner_busy_s - learner_s) / passed),
        rollout_idle=max(0.0, 1 - busy / passed),
        started=loop.started,
        trained=loop.trained,
        alive=loop.alive,
    )
