import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import pytest

from keomni_rl.errors import ConfigError, RewardError
from keomni_rl.rewards.score import reward_functions, score


def rewards(*names: str, think: bool = True, think_max_words: int = 50, **settings):
    return reward_functions(names, think=think, think_max_words=think_max_words, **settings)


def one(prompt, name: str, text: str, **settings) -> float:
    found = rewards(name, **settings)
    try:
        (reward,) = score([text], prompt, {name: 1.0}, found.functions)
    finally:
        found.close()
    return reward.total


def test_score_weighs_and_keeps_the_parts(ask):
    texts = ["<think>a</think><answer>Car</answer>", "Car", "Bus"]
    weights = {"accuracy": 2.0, "format": -0.5}
    functions = rewards("format", "accuracy").functions
    found = score(texts, ask("Car"), weights, functions)
    assert [reward.total for reward in found] == [1.5, 2.0, 0.0]
    assert [list(reward.breakdown.items()) for reward in found] == [
        [("accuracy", 1.0), ("format", 1.0)],
        [("accuracy", 1.0), ("format", 0.0)],
        [("accuracy", 0.0), ("format", 0.0)],
    ]
    assert score([], ask("Car"), weights, functions) == ()


def test_rewards_follow_the_settings(ask):
    prompt, said = ask("Car"), "<answer>Car</answer>"
    assert one(prompt, "format", said, think=False) == 1
    assert one(prompt, "format", said, think=True) == 0
    assert one(prompt, "format", said * 2, think=False) == 0
    assert one(prompt, "format", said * 2, think=False, compat=True) == 1
    assert one(prompt, "think_length", "<think>one two</think>", think_max_words=3) == 1
    assert one(prompt, "think_length", "<think>one two</think>", think_max_words=2) == 0


def test_compat_and_math_verify_ask_for_mathematics(ask):
    prompt = ask("about 2 seconds", "3 seconds")
    in_think, in_answer = "<think> 2 </think><answer>3</answer>", "<answer> 2.0 </answer>"
    assert [one(prompt, "accuracy", text) for text in (in_think, in_answer)] == [0, 0]
    assert one(prompt, "accuracy", in_think, math_verify=True) == 0
    assert one(prompt, "accuracy", in_think, compat=True) == 1
    assert one(prompt, "accuracy", in_answer, math_verify=True) == 1
    assert one(prompt, "accuracy", in_answer, compat=True) == 1


def test_mathematics_is_started_for_accuracy_alone():
    assert rewards("accuracy", "format").verifier is None
    assert rewards("format", compat=True).verifier is None
    assert rewards("accuracy", compat=True).verifier is not None


@pytest.mark.parametrize(("think", "think_max_words"), [(True, 0), (False, 50)])
def test_think_length_needs_a_length(think, think_max_words):
    with pytest.raises(ConfigError, match="or remove the reward"):
        rewards("think_length", think=think, think_max_words=think_max_words)


def test_settings_without_an_effect_are_refused():
    with pytest.raises(ConfigError, match=r"math_verify does nothing without .* 'accuracy'"):
        rewards("format", math_verify=True)
    with pytest.raises(ConfigError, match=r"compat does nothing without .* 'accuracy' and 'fo"):
        rewards("think_length", compat=True)


def test_unknown_rewards_are_named():
    with pytest.raises(ConfigError, match="'acuracy'; did you mean 'accuracy'"):
        rewards("acuracy")
    with pytest.raises(ConfigError, match="known: accuracy, format, think_length .*module:func"):
        rewards("melody")


def test_a_reward_of_ones_own_beside_the_others(ask, tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text("def brevity(text, prompt): return 1 / len(text)")
    name = "mine.py:brevity"
    found = rewards("accuracy", name, folder=tmp_path).functions
    (reward,) = score(["Bus!"], ask("Car"), {"accuracy": 2.0, name: 4.0}, found)
    assert reward.breakdown == {"accuracy": 0.0, name: 0.25}
    assert reward.total == 1.0
    with pytest.raises(RewardError, match="ZeroDivisionError"):
        score(["Car", ""], ask("Car"), {name: 1.0}, found)
    monkeypatch.chdir(tmp_path)
    assert one(ask("Car"), name, "Bu") == 0.5


def test_with_a_time_limit_ones_own_rewards_have_a_process(ask, tmp_path):
    (tmp_path / "where.py").write_text("import os\ndef f(text, prompt): return os.getpid()")
    name = "where.py:f"
    assert rewards("format", timeout_s=30.0).own is None
    assert one(ask("Car"), name, "Car", folder=tmp_path) == os.getpid()
    found = rewards(name, folder=tmp_path, timeout_s=30.0)
    before = set(multiprocessing.active_children())
    found.start()
    [process] = set(multiprocessing.active_children()) - before
    (reward,) = score(["Car"], ask("Car"), {name: 1.0}, found.functions)
    assert reward.total == process.pid
    found.close()
    assert not process.is_alive()


def test_a_reward_is_looked_for_where_it_is_called(tmp_path):
    with pytest.raises(ConfigError, match="there is no file"):
        rewards("gone.py:f", folder=tmp_path)
    found = rewards("gone.py:f", folder=tmp_path, timeout_s=30.0)
    with pytest.raises(ConfigError, match="there is no file"):
        found.start()
    found.close()


PROGRAM = """
from keomni_rl.errors import ConfigError
from keomni_rl.rewards.score import reward_functions

settings = dict(think=True, think_max_words=50)
reward_functions(["accuracy", "format"], **settings)
for more in (dict(compat=True), dict(math_verify=True)):
    try:
        reward_functions(["accuracy"], **settings, **more)
    except ConfigError as error:
        print(error)
"""


def test_without_math_verify_its_settings_name_the_remedy(tmp_path: Path):
    # An installation that lacks a part of it, as far as Python can tell.
    (tmp_path / "math_verify.py").write_text("import antlr4_is_not_here")
    (tmp_path / "program.py").write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, tmp_path / "program.py"], capture_output=True, text=True, check=True
    )
    first, second = done.stdout.splitlines()
    assert first == second
    assert first.startswith(
        "reward.compat and reward.math_verify need math_verify (No module named"
    )
    assert "pip install 'keomni-rl[math]'" in first
