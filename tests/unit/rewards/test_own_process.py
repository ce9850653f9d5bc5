import logging
import multiprocessing
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from pydantic import ValidationError

from keomni_rl.config.schema import RewardConfig
from keomni_rl.errors import ConfigError, RewardError
from keomni_rl.rewards.own_process import OwnRewards

MINE = """
import os, re, signal, sys, time
from pathlib import Path

CALLS = Path(__file__).with_name("calls")
num_calls = 0

def note():
    with CALLS.open("a") as file:
        file.write("x")

def brevity(text, prompt): return 1 / len(text)
def solution(text, prompt): return float(text == prompt.question.answer)
def process(text, prompt): return os.getpid()

def count(text, prompt):
    global num_calls
    num_calls += 1
    return num_calls

def loop(text, prompt):
    note()
    while True:
        pass

def regex(text, prompt):
    note()
    return bool(re.match(r"(a+)+$", "a" * 40 + "b"))

def leave(text, prompt):
    note()
    os._exit(int(text))

def segfault(text, prompt):
    note()
    os.kill(os.getpid(), signal.SIGSEGV)

def hang_once(text, prompt):
    note()
    while CALLS.read_text() == "x":
        pass
    return 0.25

def die_once(text, prompt):
    note()
    if CALLS.read_text() == "x":
        os._exit(1)
    return 0.25

def hang_then_die(text, prompt):
    note()
    while CALLS.read_text() == "x":
        pass
    os.kill(os.getpid(), signal.SIGKILL)

def raises(text, prompt):
    note()
    return {}[text]

def times_out(text, prompt):
    note()
    raise TimeoutError("no answer from a server")

def ends(text, prompt):
    note()
    sys.exit(3)

class OnlyHere(Exception):
    def __init__(self, one, two):
        super().__init__()

def raises_what_cannot_travel(text, prompt):
    note()
    raise OnlyHere(1, 2)

def nan(text, prompt):
    note()
    return float("nan")

def nothing(text, prompt):
    note()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(MINE)
    return tmp_path


@pytest.fixture
def make(folder):
    """Makes rewards with a process and ends it."""
    made = []

    def make(*names: str, timeout_s: float = 30.0) -> OwnRewards:
        made.append(OwnRewards(names, folder, timeout_s))
        return made[-1]

    yield make
    for own in made:
        own.close()


def failure(own: OwnRewards, name: str, prompt, text: str = "Car") -> str:
    with pytest.raises(RewardError) as raised:
        own.score(name, [text], prompt)
    return str(raised.value)


def num_calls(folder: Path) -> int:
    return len((folder / "calls").read_text())


def test_it_scores_texts_in_their_order(make, ask):
    own = make("mine.py:brevity", "mine:solution")
    assert own.score("mine.py:brevity", ["ab", "a", "abcd"], ask("Car")) == [0.5, 1.0, 0.25]
    assert own.score("mine:solution", ["Car", "Bus"], ask("Car")) == [1.0, 0.0]
    assert own.score("mine:solution", [], ask("Car")) == []


def test_it_imports_and_starts_nothing_before_the_first_call(make):
    before = multiprocessing.active_children()
    make("mine:process")
    assert multiprocessing.active_children() == before


def test_all_rewards_share_a_process_that_keeps_its_state(make, ask):
    own = make("mine:count", "mine:process", "mine.py:process")
    before = set(multiprocessing.active_children())
    own.start()
    [process] = set(multiprocessing.active_children()) - before
    assert own.score("mine:process", ["a", "b"], ask("Car")) == [process.pid] * 2
    assert own.score("mine.py:process", ["a"], ask("Car")) == [process.pid]
    assert own.score("mine:count", ["a", "b"], ask("Car")) == [1, 2]
    assert own.score("mine:count", ["a"], ask("Car")) == [3]
    own.close()
    assert not process.is_alive()
    assert not {"mine"} & set(sys.modules)


@pytest.mark.parametrize("name", ["mine:loop", "mine:regex"])
def test_what_comes_to_no_end_is_cut_off_twice_and_named(name, make, folder, ask, caplog):
    own = make(name, "mine:brevity", timeout_s=1.0)
    with caplog.at_level(logging.WARNING):
        message = failure(own, name, ask("Car"), "a" * 200 + "b")
    how = "gave no answer in 1 s"
    where = f"on question 'q7', completion '{'a' * 200}'"
    assert message == (
        f"reward {name!r} {how} and then {how} {where}; wanted a finite number within 1 s "
        "(reward.timeout_s)"
    )
    assert num_calls(folder) == 2
    assert f"reward {name!r} {how} {where}" in caplog.text
    assert own.score("mine:brevity", ["ab"], ask("Car")) == [0.5]


@pytest.mark.parametrize(
    ("name", "text"), [("mine:leave", "3"), ("mine:leave", "0"), ("mine:segfault", "Car")]
)
def test_what_ends_its_process_is_called_twice_and_named(name, text, make, folder, ask):
    own = make(name, "mine:brevity", timeout_s=2.0)
    message = failure(own, name, ask("Car"), text)
    assert message.startswith(f"reward {name!r} ")
    assert f" on question 'q7', completion {text!r};" in message
    assert num_calls(folder) == 2
    assert own.score("mine:brevity", ["ab"], ask("Car")) == [0.5]


def test_both_ends_are_told(make, ask):
    message = failure(make("mine:hang_then_die", timeout_s=1.0), "mine:hang_then_die", ask("Car"))
    assert "gave no answer in 1 s and then ended its process" in message


@pytest.mark.parametrize("name", ["mine:hang_once", "mine:die_once"])
def test_a_second_call_that_answers_counts(name, make, folder, ask):
    own = make(name, "mine:count", timeout_s=1.0)
    assert own.score("mine:count", ["a", "b"], ask("Car")) == [1, 2]
    assert own.score(name, ["Car"], ask("Car")) == [0.25]
    assert num_calls(folder) == 2
    assert own.score("mine:count", ["a"], ask("Car")) == [1]  # in a fresh process


@pytest.mark.parametrize(
    ("function", "what"),
    [
        ("raises", "raised KeyError('Car')"),
        ("times_out", "raised TimeoutError('no answer from a server')"),
        ("ends", "raised SystemExit(3)"),
        ("raises_what_cannot_travel", "raised OnlyHere()"),
        ("nan", "returned nan"),
        ("nothing", "returned None"),
    ],
)
def test_what_raises_or_returns_no_number_is_called_once(function, what, make, folder, ask):
    own = make(f"mine:{function}", "mine:process")
    [process] = own.score("mine:process", ["a"], ask("Car"))
    message = failure(own, f"mine:{function}", ask("Car"))
    assert message.startswith(f"reward 'mine:{function}' {what} on question 'q7', completion 'Car'")
    assert num_calls(folder) == 1
    assert own.score("mine:process", ["a"], ask("Car")) == [process]


def test_where_a_reward_raised_is_kept(make, ask):
    own = make("mine:raises")
    with pytest.raises(RewardError) as raised:
        own.score("mine:raises", ["Car"], ask("Car"))
    assert "return {}[text]" in str(raised.value.__cause__)


def test_a_slow_import_is_not_counted(make, folder, ask):
    (folder / "slow.py").write_text(f"import time\ntime.sleep(3)\n{MINE}")
    own = make("slow:hang_once", timeout_s=1.0)
    assert own.score("slow:hang_once", ["Car"], ask("Car")) == [0.25]  # two imports, of 3 s each
    assert num_calls(folder) == 2


def test_a_process_that_was_killed_between_calls_has_a_successor(make, ask):
    own = make("mine:process")
    before = set(multiprocessing.active_children())
    own.start()
    [process] = set(multiprocessing.active_children()) - before
    process.kill()
    process.join()
    [successor] = own.score("mine:process", ["a"], ask("Car"))
    assert successor != process.pid


@pytest.mark.parametrize("name", ["gone:f", "broken.py:f", "mine:brevit"])
def test_a_reward_that_cannot_be_found_there_is_named(name, make, folder, ask):
    (folder / "broken.py").write_text("import sys\nsys.exit(3)")
    own = make("mine:brevity", name)
    with pytest.raises(ConfigError, match=f"^reward '{name}'"):
        own.start()
    with pytest.raises(ConfigError, match=f"^reward '{name}'"):
        own.score(name, ["Car"], ask("Car"))
    assert own.score("mine:brevity", ["ab"], ask("Car")) == [0.5]


def test_an_import_that_ends_the_process_is_an_error(make, folder, ask):
    (folder / "deadly.py").write_text("import os\nos._exit(1)")
    own = make("deadly:f")
    with pytest.raises(RewardError, match="process of 'deadly:f' ended while it imported them"):
        own.start()
    message = failure(own, "deadly:f", ask("Car"))
    assert message.startswith("reward 'deadly:f' ended its process")
    assert "on question 'q7', completion 'Car'" in message


@pytest.mark.parametrize("timeout_s", [0, -1, float("nan"), float("inf")])
def test_the_time_limit_is_some_time(timeout_s):
    assert RewardConfig().timeout_s == 30
    with pytest.raises(ValidationError, match="timeout_s"):
        RewardConfig(timeout_s=timeout_s)


PARENT = """
import os, threading, time
from pathlib import Path
from keomni_rl.rewards.own_process import OwnRewards
from keomni_rl.types import Prompt, Question

if __name__ == "__main__":
    folder = Path(__file__).parent
    question = Question(id="q7", question="?", choices=("a", "b"), answer="a", audio="a.wav")
    prompt = Prompt(question=question, text="")
    own = OwnRewards(["mine:process", "mine:regex"], folder, 1.0)
    [pid] = own.score("mine:process", ["a"], prompt)
    call = threading.Thread(target=own.score, args=("mine:regex", ["a"], prompt), daemon=True)
    call.start()
    while not (folder / "calls").exists():
        time.sleep(0.01)
    (folder / "child").write_text(str(int(pid)))
    os.kill(os.getpid(), 9)
"""


def test_a_process_that_is_busy_ends_though_its_parent_was_killed(folder):
    (folder / "parent.py").write_text(PARENT)
    done = subprocess.run([sys.executable, folder / "parent.py"], check=False)
    assert done.returncode == -signal.SIGKILL
    child = int((folder / "child").read_text())
    if psutil.pid_exists(child):
        psutil.Process(child).wait(timeout=60)
