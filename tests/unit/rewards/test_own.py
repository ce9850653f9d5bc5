import subprocess
import sys
from pathlib import Path

import pytest

from keomni_rl.errors import ConfigError, RewardError
from keomni_rl.rewards.own import call, find_reward
from keomni_rl.types import Prompt

OWN = """
import functools
from fractions import Fraction

import numpy as np
import torch

limit = 3

def good(text, prompt):
    question = prompt.question
    return float(text == question.answer and text in question.choices and question.question == "?")

def options(text, prompt, *, weight=0.5, **others): return weight
def many(*all): return len(all)
scaled = functools.partial(options, weight=2)

class Instance:
    def __call__(self, text, prompt): return 7

instance = Instance()

class AsyncInstance:
    async def __call__(self, text, prompt): return 7

async_instance = AsyncInstance()

def float32(text, prompt): return np.float32(0.25)
def int64(text, prompt): return np.int64(3)
def numpy_bool(text, prompt): return np.bool_(True)
def array(text, prompt): return np.array(0.5)
def tensor(text, prompt): return torch.tensor(0.5, requires_grad=True)
def true(text, prompt): return len(text) > 0
def half(text, prompt): return Fraction(1, 2)

def nan(text, prompt): return float("nan")
def infinite(text, prompt): return np.float32("-inf")
def huge(text, prompt): return 10**400
def nothing(text, prompt): pass
def word(text, prompt): return "0.5"
def numbers(text, prompt): return np.array([1.0, 2.0])
def imaginary(text, prompt): return 1j

def raises(text, prompt): return 1 / 0
def ends(text, prompt): raise SystemExit(3)

async def coroutine(text, prompt): return 1.0
def generator(text, prompt): yield 1.0
async def async_generator(text, prompt): yield 1.0
def one(text): return 1.0
def three(text, question, solution): return 1.0
def named(text, prompt, *, scale): return 1.0
"""


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A working directory with a module of rewards, which no path for modules names."""
    (tmp_path / "rewards_of_a_user.py").write_text(OWN)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "rewards_of_a_user", raising=False)
    return tmp_path


def worth(folder: Path, function: str, prompt: Prompt, text: str = "Car") -> float:
    name = f"rewards_of_a_user.py:{function}"
    return call(name, find_reward(name, folder), text, prompt)


@pytest.mark.parametrize("name", ["rewards_of_a_user:good", "rewards_of_a_user.py:good"])
def test_a_function_of_a_module_or_of_a_file(name, folder, ask):
    function = find_reward(name, folder)
    assert [call(name, function, text, ask("Car", "Bus")) for text in ("Car", "Bus")] == [1, 0]


def test_a_file_with_neighbours_anywhere(folder, ask, monkeypatch):
    package = folder / "deep" / "er"
    package.mkdir(parents=True)
    (package / "neighbour_of_a_reward.py").write_text("WORTH = 4")
    (package / "mine.v2.py").write_text(
        "from neighbour_of_a_reward import WORTH\ndef f(text, prompt): return WORTH\n"
    )
    monkeypatch.setenv("HOME", str(folder))
    names = ["deep/er/mine.v2.py:f", f"{package}/mine.v2.py:f", "~/deep/er/mine.v2.py:f"]
    functions = [find_reward(name, folder) for name in names]
    assert functions[0] is functions[1] is functions[2]  # the file is run once
    assert call(names[0], functions[0], "", ask("Car")) == 4


def test_two_files_of_one_name(folder, ask):
    for name in ("a", "b"):
        (folder / name).mkdir()
        (folder / name / "same.py").write_text(f"def f(text, prompt): return {ord(name)}")
    found = [call(n, find_reward(f"{n}/same.py:f", folder), "", ask("Car")) for n in "ab"]
    assert found == [97, 98]


def test_a_file_of_the_working_directory_hides_no_library(folder):
    (folder / "wave.py").write_text("raise SystemExit('the wrong file')")
    program = (
        "import pathlib\nfrom keomni_rl.rewards.own import find_reward\n"
        "find_reward('rewards_of_a_user:good', pathlib.Path.cwd())\nimport wave\nwave.Wave_read"
    )
    subprocess.run([sys.executable, "-P", "-c", program], cwd=folder, check=True)


@pytest.mark.parametrize(
    ("function", "number"),
    [
        ("float32", 0.25),
        ("int64", 3),
        ("numpy_bool", 1),
        ("array", 0.5),
        ("tensor", 0.5),
        ("true", 1),
        ("half", 0.5),
        ("options", 0.5),
        ("many", 2),
        ("scaled", 2),
        ("instance", 7),
    ],
)
def test_what_counts_as_a_number_becomes_a_float(function, number, folder, ask):
    value = worth(folder, function, ask("Car"))
    assert value == number
    assert type(value) is float


@pytest.mark.parametrize(
    ("function", "value"),
    [
        ("nan", "nan"),
        ("infinite", "np.float32(-inf)"),
        ("huge", "10000"),
        ("nothing", "None"),
        ("word", "'0.5'"),
        ("numbers", "array([1., 2.])"),
        ("imaginary", "1j"),
    ],
)
def test_what_is_no_finite_number_is_refused(function, value, folder, ask):
    with pytest.raises(RewardError) as raised:
        worth(folder, function, ask("Car"))
    message = str(raised.value)
    assert message.startswith(f"reward 'rewards_of_a_user.py:{function}' returned {value}")
    assert message.endswith("on question 'q7', completion 'Car'; wanted a finite number")
    assert len(message) < 250


def test_a_reward_that_raises_names_the_completion(folder, ask):
    with pytest.raises(RewardError) as raised:
        worth(folder, "raises", ask("Car"), "a" * 200 + "b")
    message = str(raised.value)
    assert "'rewards_of_a_user.py:raises' raised ZeroDivisionError" in message
    assert message.endswith("on question 'q7', completion '" + "a" * 200 + "'")
    assert isinstance(raised.value.__cause__, ZeroDivisionError)


def test_a_reward_that_asks_for_the_end_raised_too(folder, ask):
    with pytest.raises(RewardError, match=r"raised SystemExit\(3\) on question 'q7'"):
        worth(folder, "ends", ask("Car"))


@pytest.mark.parametrize(
    ("function", "problem"),
    [
        ("limit", "is 3;"),
        ("Instance", "is a class;"),
        ("coroutine", "is a coroutine function (async def);"),
        ("async_instance", "is a coroutine function (async def);"),
        ("generator", "is a generator function (it yields);"),
        ("async_generator", "is a generator function (it yields);"),
        ("one", "takes (text) (too many positional arguments);"),
        ("three", "takes (text, question, solution) (missing a required argument: 'solution');"),
        ("named", "takes (text, prompt, *, scale) (missing a required argument: 'scale');"),
    ],
)
def test_what_can_be_no_reward_is_refused_before_the_run(function, problem, folder):
    with pytest.raises(ConfigError) as raised:
        find_reward(f"rewards_of_a_user:{function}", folder)
    assert str(raised.value) == (
        f"reward 'rewards_of_a_user:{function}' {problem} wanted a function (text, prompt) that "
        "returns a number"
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (":f", "names no function; wanted module:function or path/to/file.py:function"),
        ("mod:", "names no function"),
        ("mod:f()", "names no function"),
        ("no_such_module:f", "no module 'no_such_module' in {folder} or in this environment"),
        ("no_such.module:f", "no module 'no_such' in {folder}"),
        ("no_such.py:f", "there is no file {folder}/no_such.py"),
        ("/no/such.py:f", "there is no file /no/such.py"),
        ("~no_one/such.py:f", "there is no file {folder}/~no_one/such.py"),
        ("rewards_of_a_user:god", "has no 'god'; did you mean 'good'?"),
        (
            "rewards_of_a_user.py:xyzzy",
            "/rewards_of_a_user.py has no 'xyzzy'; a file is named path/to/file.py:function",
        ),
        ("lacking:f", "lacking: No module named 'not_installed'"),
        ("lacking.py:f", "lacking.py: No module named 'not_installed'"),
        ("broken:f", "broken: SyntaxError("),
        ("broken.py:f", "broken.py: SyntaxError("),
        ("failing.py:f", "failing.py: FileNotFoundError("),
    ],
)
def test_a_reward_that_cannot_be_found_is_named(name, message, folder):
    (folder / "lacking.py").write_text("import not_installed")
    (folder / "broken.py").write_text("def f(text, prompt) return 1")
    (folder / "failing.py").write_text("open('/no/such/file')")
    with pytest.raises(ConfigError) as raised:
        find_reward(name, folder)
    assert str(raised.value).startswith(f"reward {name!r}")
    assert message.format(folder=folder) in str(raised.value)


@pytest.mark.parametrize("name", ["program_of_a_user:f", "program_of_a_user.py:f"])
def test_a_module_that_ends_the_program_is_named(name, folder):
    (folder / "program_of_a_user.py").write_text("import sys\nsys.exit(3)\n")
    with pytest.raises(ConfigError, match=r"cannot be imported: program_of.*: SystemExit\(3\)"):
        find_reward(name, folder)
