import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keomni_rl.errors import ConfigError, DataError, RewardError
from keomni_rl.rewards.accuracy import accuracy
from keomni_rl.rewards.format import format_reward
from keomni_rl.rewards.score import score
from keomni_rl.rewards.think_length import num_think_words, within_limit
from keomni_rl.types import Prompt, Question


def prompt(solution: str | None) -> Prompt:
    question = Question(
        id="q7", question="?", choices=(solution or "", "other"), answer=solution, audio="a.wav"
    )
    return Prompt(question=question, text="")


CASES = [
    ("<answer>Car</answer>", "Car", False, 1, 1),
    ("<answer> Car </answer>", "Car", False, 1, 1),
    ("<answer>car</answer>", "Car", False, 0, 1),
    ("<answer>Car.</answer>", "Car", False, 0, 1),
    ("Car", "Car", False, 1, 0),
    (" Car\n", "Car", False, 1, 0),
    ("<think>ok</think><answer>Car</answer>", "Car", True, 1, 1),
    ("<think>ok</think>\n\n <answer>Car</answer>", "Car", True, 1, 1),
    ("<think>ok</think>x<answer>Car</answer>", "Car", True, 1, 0),
    ("<think>ok</think><answer>Car</answer>", "Car", False, 1, 0),
    ("<answer>Car</answer>", "Car", True, 1, 0),
    ("<think>ok</think><answer>Car</answer>\n", "Car", True, 1, 0),
    ("\n<think>ok</think><answer>Car</answer>", "Car", True, 1, 0),
    ("<think>ok</think><answer>Car</answer><answer>Bus</answer>", "Car", True, 1, 1),
    ("<think>ok</think><answer>Bus</answer><answer>Car</answer>", "Car", True, 0, 1),
    ("<think>a <answer>Bus</answer> b</think><answer>Car</answer>", "Car", True, 0, 1),
    ("<answer>\nCar\n</answer>", "Car", False, 1, 1),  # the seeds read no answer over lines
    ("<think>a\nb</think><answer>Car</answer>", "Car", True, 1, 1),
    ("<answer>Car", "Car", False, 0, 0),
    ("<think></think><answer></answer>", "Car", True, 0, 1),
    ("", "Car", False, 0, 0),
    ("<Answer>Car</Answer>", "Car", False, 0, 0),
    ("<think>ok</think><think>ok</think><answer>Car</answer>", "Car", True, 1, 1),
    ("<answer>Car</answer> extra", "Car", False, 1, 0),
    ("<answer>6/8</answer>", "3/4", False, 0, 1),
    ("<answer>4/4</answer>", "4/4", False, 1, 1),
    # the seeds' mathematical parser takes these for right
    ("<answer> 6/8 </answer>", "3/4", False, 0, 1),
    ("<think>There are 3 dogs.</think><answer>dog 3</answer>", "cat 3", True, 0, 1),
    ("<think>I hear 2 birds</think><answer>two</answer>", "about 2 seconds", True, 0, 1),
    ("<answer>at 90 bpm</answer>", "around 90 bpm", False, 0, 1),
    ("The answer is 5", "x =5", False, 0, 0),
    ("<think>about 2 s</think><answer>1.63 seconds</answer>", "1.63 seconds", True, 1, 1),
    ("<think>ok</think><answer>Db major</answer>", "C# major", True, 0, 1),
    ("<answer>[1, 2]</answer>", "[1, 2]", False, 1, 1),
]


@pytest.mark.parametrize(("text", "solution", "think", "right", "formed"), CASES)
def test_accuracy_and_format(text, solution, think, right, formed):
    assert accuracy(text, prompt(solution)) == right
    assert format_reward(text, prompt(solution), think=think) == formed


def test_accuracy_trims_the_solution_and_wants_one():
    assert accuracy("<answer>Car</answer>", prompt(" Car ")) == 1
    with pytest.raises(DataError, match="'q7' has no answer"):
        accuracy("<answer></answer>", prompt(None))


TAGS = ["<think>", "</think>", "<answer>", "</answer>", " ", "\n", "x"]
SEEDS_FORMAT = {
    True: re.compile(r"<think>.*?</think>\s*<answer>.*?</answer>", re.DOTALL),
    False: re.compile(r"<answer>.*?</answer>", re.DOTALL),
}


@settings(max_examples=500)
@given(st.lists(st.sampled_from(TAGS), max_size=8).map("".join), st.booleans(), st.booleans())
def test_format_is_that_of_the_seeds(text, is_framed, think):
    if is_framed:  # at random, few texts would be well formed
        text = "<think>" * think + text + "</think><answer>" * think + "</answer>"
    expected = SEEDS_FORMAT[think].fullmatch(text) is not None
    assert format_reward(text, prompt("Car"), think=think) == expected


def test_format_is_linear_in_the_text():
    # Nested lazy quantifiers would need hours for this.
    assert format_reward("<think>" * 200_000, prompt("Car"), think=True) == 0
    assert format_reward("<think>" + "</think> " * 100_000, prompt("Car"), think=True) == 0
    assert format_reward("<answer>" * 200_000, prompt("Car"), think=False) == 0


def test_think_length():
    assert num_think_words("<think>one two  three</think><answer>x</answer>") == 3
    assert num_think_words("<answer>x</answer>") == 0
    assert num_think_words("<think>cut off in the middle") == 5
    assert within_limit("<think>one two</think>", 3) == 1
    assert within_limit("<think>one two three</think>", 3) == 0


def test_score_weighs_and_keeps_the_parts():
    texts = ["<think>a</think><answer>Car</answer>", "Bus"]
    weights = {"accuracy": 2.0, "format": 1.0}
    first, second = score(texts, prompt("Car"), weights, think=True, think_max_words=50)
    assert (first.total, first.breakdown) == (3.0, {"accuracy": 1.0, "format": 1.0})
    assert second.total == 0.0


def one(name: str, text: str = "text", *, think: bool = True, think_max_words: int = 50):
    (reward,) = score(
        [text], prompt("Car"), {name: 1.0}, think=think, think_max_words=think_max_words
    )
    return reward.total


def test_rewards_follow_the_settings():
    assert one("format", "<answer>Car</answer>", think=False) == 1
    assert one("format", "<answer>Car</answer>", think=True) == 0
    assert one("think_length", "<think>one two</think>", think_max_words=3) == 1
    assert one("think_length", "<think>one two</think>", think_max_words=2) == 0


@pytest.mark.parametrize(("think", "think_max_words"), [(True, 0), (False, 50)])
def test_think_length_needs_a_length(think, think_max_words):
    with pytest.raises(ConfigError, match="set a limit or remove"):
        one("think_length", think=think, think_max_words=think_max_words)


OWN = """
import numpy as np

limit = 3

def good(text, prompt):
    return 0.5 if (text, prompt.id) == ("text", "q7") else 0.0

def narrow(text, prompt):
    return np.float32(0.25)

def bad(text, prompt):
    return 1 / 0

def odd(text, prompt):
    return float("nan")

def nothing(text, prompt):
    pass
"""


@pytest.fixture
def own_rewards(tmp_path, monkeypatch) -> str:
    """Name of a module of rewards in a file, as a user has them."""
    (tmp_path / "rewards_of_a_user.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    return "rewards_of_a_user"


def test_a_reward_of_ones_own(own_rewards):
    assert one(f"{own_rewards}:good") == 0.5
    assert one(f"{own_rewards}:narrow") == np.float32(0.25)


def test_a_reward_that_raises_names_the_completion(own_rewards):
    with pytest.raises(RewardError) as raised:
        one(f"{own_rewards}:bad", "a" * 200 + "b")
    message = str(raised.value)
    assert f"'{own_rewards}:bad' raised ZeroDivisionError" in message
    assert "'q7'" in message
    assert message.endswith("'" + "a" * 200 + "'")
    assert isinstance(raised.value.__cause__, ZeroDivisionError)


@pytest.mark.parametrize(("name", "value"), [("odd", "nan"), ("nothing", "None")])
def test_a_reward_that_is_no_number_is_refused(own_rewards, name, value):
    with pytest.raises(
        RewardError, match=f"{own_rewards}:{name}' returned {value} on question 'q7'"
    ):
        one(f"{own_rewards}:{name}")


def test_unknown_rewards_are_named(own_rewards):
    with pytest.raises(ConfigError, match="did you mean 'accuracy'"):
        one("acuracy")
    with pytest.raises(ConfigError, match="known: accuracy, format, think_length "):
        one("melody")
    with pytest.raises(ConfigError, match="cannot be imported"):
        one("no_such_module:reward")
    with pytest.raises(ConfigError, match="module:function"):
        one(":reward")
    with pytest.raises(ConfigError, match="is 3, wanted a function"):
        one(f"{own_rewards}:limit")
