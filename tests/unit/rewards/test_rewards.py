import sys
import types

import pytest

from keomni_rl.errors import ConfigError, RewardError
from keomni_rl.rewards.accuracy import accuracy
from keomni_rl.rewards.format import format_reward
from keomni_rl.rewards.score import score
from keomni_rl.rewards.think_length import num_think_words, within_limit
from keomni_rl.types import Prompt, Question


def prompt(solution: str) -> Prompt:
    question = Question(
        id="q7", question="?", choices=(solution, "other"), answer=solution, audio="a.wav"
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
    ("<think>ok</think><answer>Db major</answer>", "C# major", True, 0, 1),
    ("<answer>[1, 2]</answer>", "[1, 2]", False, 1, 1),
]


@pytest.mark.parametrize(("text", "solution", "think", "right", "formed"), CASES)
def test_accuracy_and_format(text, solution, think, right, formed):
    assert accuracy(text, prompt(solution)) == right
    assert format_reward(text, prompt(solution), think=think) == formed


def test_format_is_linear_in_the_text():
    # Nested lazy quantifiers would need hours for this.
    assert format_reward("<think>" * 200_000, prompt("Car"), think=True) == 0
    assert format_reward("<think>" + "</think> " * 100_000, prompt("Car"), think=True) == 0
    assert format_reward("<answer>" * 200_000, prompt("Car"), think=False) == 0


def test_think_length():
    assert num_think_words("<think>one two  three</think><answer>x</answer>") == 3
    assert within_limit("<think>one two</think>", 3) == 1
    assert within_limit("<think>one two three</think>", 3) == 0


def test_score_weighs_and_keeps_the_parts():
    texts = ["<think>a</think><answer>Car</answer>", "Bus"]
    weights = {"accuracy": 2.0, "format": 1.0}
    first, second = score(texts, prompt("Car"), weights, think=True, think_max_words=50)
    assert (first.total, first.breakdown) == (3.0, {"accuracy": 1.0, "format": 1.0})
    assert second.total == 0.0


def one(name: str):
    return score(["text"], prompt("Car"), {name: 1.0}, think=True, think_max_words=50)


def test_a_reward_of_ones_own(monkeypatch):
    module = types.ModuleType("my_rewards")
    module.good = lambda text, prompt: 0.5
    module.bad = lambda text, prompt: 1 / 0
    module.odd = lambda text, prompt: float("nan")
    monkeypatch.setitem(sys.modules, "my_rewards", module)
    assert one("my_rewards:good")[0].total == 0.5
    with pytest.raises(
        RewardError, match=r"'my_rewards:bad' raised ZeroDivisionError.*'q7'.*'text'"
    ):
        one("my_rewards:bad")
    with pytest.raises(RewardError, match="returned nan"):
        one("my_rewards:odd")


def test_unknown_rewards_are_named():
    with pytest.raises(ConfigError, match="did you mean 'accuracy'"):
        one("acuracy")
    with pytest.raises(ConfigError, match="cannot be imported"):
        one("no_such_module:reward")
