"""Processor cores that actors without a GPU share: who computes gets an equal part."""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import simpy


@dataclass(eq=False)
class _Job:
    left_s: float
    """At full speed."""
    threads: float
    done: simpy.Event


class Cores:
    """Processor sharing: while more threads compute than there are cores, all are slower.

    Args:
        env: the simulation.
        number: of cores; infinite where nothing is shared.
    """

    def __init__(self, env: simpy.Environment, number: float) -> None:
        self._env = env
        self._number = number
        self._jobs: list[_Job] = []
        self._since = 0.0
        self._changes = 0

    def work(self, seconds: float, threads: int) -> Generator[simpy.Event, Any, None]:
        """Compute for what takes some seconds when nobody else does, threads in excess or not."""
        if self._number == float("inf"):
            yield self._env.timeout(seconds)
            return
        self._advance()
        job = _Job(seconds, min(threads, self._number), self._env.event())
        self._jobs.append(job)
        self._await_next()
        yield job.done

    @property
    def _speed(self) -> float:
        wanted = sum(job.threads for job in self._jobs)
        return min(1.0, self._number / wanted) if wanted else 1.0

    def _advance(self) -> None:
        passed = (self._env.now - self._since) * self._speed
        self._since = self._env.now
        for job in self._jobs:
            job.left_s -= passed

    def _await_next(self) -> None:
        self._changes += 1
        if self._jobs:
            first = min(self._jobs, key=lambda job: job.left_s)
            self._env.process(self._finish(first, self._changes))

    def _finish(self, job: _Job, change: int) -> Generator[simpy.Event, Any, None]:
        yield self._env.timeout(max(0.0, job.left_s / self._speed))
        if change != self._changes:  # others came or went meanwhile
            return
        self._advance()
        self._jobs.remove(job)
        job.done.succeed()
        self._await_next()
