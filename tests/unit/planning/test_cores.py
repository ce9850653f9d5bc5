"""Cores that are shared: nobody is slowed while there are enough, all are while there are not."""

import pytest
import simpy
from hypothesis import given
from hypothesis import strategies as st

from keomni_rl.planning.cores import Cores


def ends(number, jobs):
    """When each of (start, seconds, threads) is done."""
    env = simpy.Environment()
    cores = Cores(env, number)
    done = {}

    def job(name, start, seconds, threads):
        yield env.timeout(start)
        yield from cores.work(seconds, threads)
        done[name] = env.now

    for name, (start, seconds, threads) in enumerate(jobs):
        env.process(job(name, start, seconds, threads))
    env.run()
    return [done[name] for name in range(len(jobs))]


def test_enough_cores_slow_nobody():
    assert ends(2, [(0, 3, 1), (1, 5, 1)]) == pytest.approx([3, 6])
    assert ends(float("inf"), [(0, 3, 8), (0, 3, 8)]) == pytest.approx([3, 3])


def test_too_few_are_shared_evenly_for_as_long_as_they_are_too_few():
    assert ends(1, [(0, 2, 1), (0, 2, 1)]) == pytest.approx([4, 4])
    # Alone for 1 s, then at half speed beside the other, which is alone for its last second.
    assert ends(1, [(0, 2, 1), (1, 2, 1)]) == pytest.approx([3, 4])
    assert ends(2, [(0, 4, 2), (0, 4, 2)]) == pytest.approx([8, 8])


def test_more_threads_than_cores_are_slow_already_where_they_were_measured():
    assert ends(2, [(0, 4, 8)]) == pytest.approx([4])


@given(
    number=st.integers(1, 4),
    jobs=st.lists(
        st.tuples(st.floats(0, 5), st.floats(0.01, 5), st.integers(1, 3)), min_size=1, max_size=8
    ),
)
def test_no_work_is_lost_or_done_sooner_than_alone(number, jobs):
    for end, (start, seconds, _) in zip(ends(number, jobs), jobs):
        assert end >= start + seconds - 1e-6
    busy = sum(seconds * min(threads, number) for _, seconds, threads in jobs) / number
    assert max(ends(number, jobs)) >= busy - 1e-6
