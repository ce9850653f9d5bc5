import importlib
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import threading

import psutil
import pytest

from keomni_rl.errors import RewardError
from keomni_rl.rewards import verifier as module
from keomni_rl.rewards.verifier import MathVerifier

ENDLESS = ("5", "9^9^9^9")
"""sympy works out the power, digit by digit, in one call that no signal interrupts."""
JUDGES = """
import os, signal

def crash_if_told(gold, target):
    if gold == "crash":
        os.kill(os.getpid(), signal.SIGKILL)
    return True

def fill_memory(gold, target):
    return bool(bytearray(8 << 30))

def fail(gold, target):
    raise RuntimeError("no mathematics today")

def note(gold, target):
    with open(gold, "a") as file:
        file.write(target)
    return True
"""


@pytest.fixture
def judges(tmp_path, monkeypatch):
    """A module that the process imports by name."""
    (tmp_path / "judges_of_a_test.py").write_text(JUDGES)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("judges_of_a_test")
    del sys.modules["judges_of_a_test"]


@pytest.fixture
def make():
    """Makes verifiers and ends their processes."""
    made = []

    def make(**settings) -> MathVerifier:
        made.append(MathVerifier(**settings))
        return made[-1]

    yield make
    for verifier in made:
        verifier.close()


def test_it_tells_equal_from_different(verifier):
    pairs = [("1/2", "0.5"), ("1/2", "0.51"), (r"$\frac{6}{8}$", "3/4"), ("Car", "Car"), ("", "")]
    assert verifier.verify(pairs) == [True, False, True, False, False]
    assert verifier.verify([]) == []


def test_it_starts_no_process_before_the_first_question(make):
    before = multiprocessing.active_children()
    verifier = make()
    assert verifier.verify([]) == []
    assert multiprocessing.active_children() == before


def test_an_endless_power_is_cut_off_and_the_next_question_answered(make, caplog):
    verifier = make(deadline_s=1.0)
    with caplog.at_level(logging.WARNING):
        assert verifier.verify([("1", "1"), ENDLESS, ("2", "2"), ("2", "3")]) == [
            *(True, False, True, False)
        ]
    assert verifier.counts == {"timeouts": 1, "crashes": 0, "errors": 0}
    assert "took more than 1 s on '5' against '9^9^9^9'" in caplog.text
    assert verifier.verify([("3", "3")]) == [True]


def test_it_works_off_the_main_thread(make):
    verifier, found = make(deadline_s=1.0), []
    thread = threading.Thread(target=lambda: found.extend(verifier.verify([("1", "1"), ENDLESS])))
    thread.start()
    thread.join()
    assert found == [True, False]
    assert verifier.verify([("2", "2")]) == [True]


def test_a_process_that_dies_takes_one_answer_with_it(make, judges):
    verifier = make(judge=judges.crash_if_told)
    assert verifier.verify([("a", ""), ("crash", ""), ("b", "")]) == [True, False, True]
    assert verifier.counts == {"timeouts": 0, "crashes": 1, "errors": 0}
    assert verifier.verify([("c", "")]) == [True]


def test_memory_is_limited(make, judges):
    verifier = make(judge=judges.fill_memory)
    assert verifier.verify([("", "")]) == [False]
    assert verifier.counts == {"timeouts": 0, "crashes": 0, "errors": 1}


def test_what_fails_is_not_equal(make, judges, caplog):
    verifier = make(judge=judges.fail)
    assert verifier.verify([("1", "1"), ("2", "2")]) == [False, False]
    assert verifier.counts["errors"] == 2
    assert "raised RuntimeError('no mathematics today') on '1' against '1'" in caplog.text


def test_a_process_that_was_killed_while_idle_has_a_successor(make):
    verifier = make()
    before = set(multiprocessing.active_children())
    assert verifier.verify([("1", "1")]) == [True]
    (process,) = set(multiprocessing.active_children()) - before
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert verifier.verify([("2", "2")]) == [True]
    assert verifier.counts == {"timeouts": 0, "crashes": 0, "errors": 0}


def test_a_process_that_cannot_start_is_an_error_and_no_verdict(make, judges, monkeypatch):
    verifier = make(judge=judges.fail)
    monkeypatch.setattr(sys, "path", sys.path[1:])  # now the process cannot import the judge
    with pytest.raises(RewardError, match="process ended 2 times before it answered"):
        verifier.verify([("1", "1")])


def test_a_pair_is_asked_once(make, judges, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "NUM_REMEMBERED", 2)
    log = tmp_path / "asked"
    verifier = make(judge=judges.note)

    def ask(targets: str) -> str:
        assert verifier.verify([(str(log), target) for target in targets]) == [True] * len(targets)
        return log.read_text()

    assert ask("aabab") == "ab"
    assert ask("ba") == "ab"
    assert ask("c") == "abc"
    assert ask("bc") == "abc"
    assert ask("a") == "abca"  # the oldest was forgotten


ORPHAN = """
import threading, time
from multiprocessing import active_children
from keomni_rl.rewards.verifier import MathVerifier

if __name__ == "__main__":
    verifier = MathVerifier(deadline_s=1.0)
    verifier.verify([("1", "1")])
    threading.Thread(target=verifier.verify, args=([("5", "9^9^9^9")],), daemon=True).start()
    time.sleep(0.5)
    print(active_children()[0].pid, flush=True)
    time.sleep(600)
"""


def test_the_process_ends_though_its_parent_was_killed(tmp_path):
    (tmp_path / "parent.py").write_text(ORPHAN)
    with subprocess.Popen([sys.executable, tmp_path / "parent.py"], stdout=-1, text=True) as parent:
        child = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    child.wait(timeout=60)
    assert not child.is_running()


def test_closing_ends_the_process():
    verifier = MathVerifier()
    before = set(multiprocessing.active_children())
    verifier.verify([("1", "1")])
    (process,) = set(multiprocessing.active_children()) - before
    verifier.close()
    assert not process.is_alive()
