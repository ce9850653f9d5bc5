import threading

import pytest

from keomni_rl.errors import ConfigError, StoreError
from keomni_rl.storage.lease import NAME, Lease


def lease(store, *, dead_after_s=60.0, settle_s=0.0):
    return Lease(store, beat_s=0.1, dead_after_s=dead_after_s, settle_s=settle_s)


def test_a_second_driver_is_refused_while_the_first_lives(store):
    with lease(store) as held:
        with pytest.raises(ConfigError, match=r"another driver \(process \d+ on .*\) is running"):
            lease(store).__enter__()
        held.check()
    with lease(store):  # what was given back is free at once
        pass
    assert store.read(NAME) is None


def test_what_a_dead_driver_left_ends_by_itself(store):
    store.write(NAME, b'{"host": "gone", "pid": 1, "id": "x", "beat": 7}')
    with lease(store, dead_after_s=0.5) as held:
        held.check()


def test_of_two_that_come_at_once_one_stays(store):
    outcomes = []
    both_are_in = threading.Barrier(2)
    both_are_through = threading.Barrier(2)

    def drive():
        both_are_in.wait()
        try:
            with lease(store, settle_s=2):
                outcomes.append("drives")
                both_are_through.wait()
        except ConfigError:
            outcomes.append("refused")
            both_are_through.wait()

    drivers = [threading.Thread(target=drive) for _ in range(2)]
    for driver in drivers:
        driver.start()
    for driver in drivers:
        driver.join()
    assert sorted(outcomes) == ["drives", "refused"]


def test_a_driver_that_was_taken_for_dead_stops_writing(store):
    with lease(store) as held:
        store.write(NAME, b'{"host": "other", "pid": 8, "id": "y", "beat": 1}')
        held._thread.join()  # it ends when it finds out
        with pytest.raises(StoreError, match="process 8 on other has taken this run over"):
            held.check()
    assert b"other" in store.read(NAME)


def test_a_lease_that_is_no_json_is_no_reason_to_crash(store):
    store.write(NAME, b"\xff[")
    with lease(store, dead_after_s=0.5) as held:
        held.check()
