"""Completions as a policy that games its rewards, or has gone mad, may sample them."""

import json
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keomni_rl.data.mmau import write_predictions
from keomni_rl.data.prompts import ANSWER, THINK, split_completion
from keomni_rl.evaluation.predictions import read_prediction_file
from keomni_rl.evaluation.score import score_file
from keomni_rl.evaluation.verdict import (
    alphanumeric_match,
    chosen_position,
    extract_answer,
    strict_match,
    string_match,
)
from keomni_rl.observe.sinks import read_lines, write_rollouts
from keomni_rl.rewards.accuracy import accuracy, seeds_accuracy
from keomni_rl.rewards.format import format_reward
from keomni_rl.rewards.score import reward_functions, score
from keomni_rl.rewards.think_length import num_think_words
from keomni_rl.types import (
    Completion,
    FinishReason,
    Group,
    GroupKey,
    Prediction,
    Prompt,
    Question,
    RolloutGroup,
)
from tests.odd_values import ODD_TEXTS, TAGS

NUM_BYTES = 1_000_000
PIECES = [*ODD_TEXTS, "dog", "<", ">", "</", "(a+)+$", "\\1", "[^]", ".*", " ", "\n", "\r\n", "$1$"]
completions = st.lists(st.sampled_from(PIECES) | st.text(max_size=8), max_size=12).map("".join)
HOSTILE = {
    "letters": "x",
    "spaces": " ",
    "NUL": "\0",
    "lines": "\n",
    "half characters": "\ud800",
    "four bytes each": "\U0001f436",
    "accents on accents": "e\u0301\u0301\u0301",
    "longer in lower case": "\u0130",
    "right to left": "\u202e\u05d0",
    "less than": "<",
    "half a tag": "<answer",
    "thinks that open": THINK[0],
    "thinks that close": THINK[1] + " ",
    "answers that open": ANSWER[0],
    "answers that close": ANSWER[1],
    "thinks in answers": "<answer><think>",
    "empty answers": "<answer></answer>",
    "closed, opened": "</think>   <answer>",
    "almost": "</think> \n\t <answe",
    "numbers": "1",
    "backtracking": "aaaaaaaaaaaaaaaa!",
    "brackets": "(" * 10,
    "LaTeX": r"\frac{1}{2}$",
}


def ask(*choices: str, answer: str = "dog") -> Prompt:
    question = Question(id="q", question="?", choices=("dog", *choices), answer=answer, audio="a")
    return Prompt(question=question, text="?")


def everything(text: str, prompt: Prompt) -> list[float]:
    """What any reward or verdict that reads text says of a completion."""
    question = prompt.question
    answer = extract_answer(text)
    marks = [
        *accuracy([text], prompt),
        *seeds_accuracy([text], prompt, verify=lambda pairs: [False] * len(pairs)),
        *(
            format_reward(text, prompt, think=think, compat=compat)
            for think in (True, False)
            for compat in (True, False)
        ),
        string_match(question.answer, answer, question.choices),
        strict_match(question.answer, answer),
        alphanumeric_match(question.answer, text),
    ]
    assert num_think_words(text) <= len(text)
    assert chosen_position(answer, question.choices) in (None, *range(len(question.choices)))
    return [float(mark) for mark in marks]


@settings(max_examples=500)
@given(completions, st.lists(st.sampled_from(PIECES), max_size=4, unique=True))
def test_any_completion_is_worth_0_or_1_to_each(text, others):
    prompt = ask(*(other for other in others if other != "dog"))
    assert set(everything(text, prompt)) <= {0.0, 1.0}


@settings(max_examples=200)
@given(st.lists(completions, min_size=1, max_size=4))
def test_a_group_is_scored_whatever_stands_in_it(texts):
    functions = reward_functions(
        ["accuracy", "format", "think_length"], think=True, think_max_words=50
    ).functions
    weights = {"accuracy": 2.0, "format": 1.0, "think_length": 0.5}
    rewards = score(texts, ask("cat"), weights, functions)
    assert all(0 <= reward.total <= 3.5 for reward in rewards)
    assert [score([text], ask("cat"), weights, functions)[0] for text in texts] == list(rewards)


@settings(max_examples=300)
@given(st.lists(st.sampled_from([*TAGS, "a", " ", "\n"]), max_size=14).map("".join))
def test_what_is_right_is_what_a_plain_reading_says(text):
    """The linear forms against the obvious, backtracking, ones."""
    inside = re.search("<answer>(.*?)</answer>", text, re.DOTALL)
    assert split_completion(text)[1] == (inside[1].strip() if inside else None)
    framed = re.fullmatch(r"<think>.*?</think>\s*<answer>.*?</answer>", text, re.DOTALL)
    once = all(text.count(tag) == 1 for tag in TAGS)
    assert format_reward(text, ask("a"), think=True, compat=True) == bool(framed)
    assert format_reward(text, ask("a"), think=True) == bool(framed and once)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("unit", HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.parametrize("frame", [("", ""), ("<think>", "</think><answer>dog</answer>")])
def test_a_megabyte_is_scored_in_one_pass(unit, frame):
    """What takes the square of it would take hours."""
    start, end = frame
    everything(start + unit * (NUM_BYTES // len(unit)) + end, ask("cat", "a+", "x" * 1_000))


def test_hostile_choices_are_no_patterns():
    choices = ["(a+)+$", ".*", "[", "\\", "$1", "(?P<x>", "\0", "x{9999999}"]
    for right in choices:
        prompt = ask(*choices, answer=right)
        assert accuracy([f"<answer>{right}</answer>"], prompt) == [1.0]
        assert accuracy(["<answer>aaa</answer>"], prompt) == [0.0]
        for other in choices:
            assert strict_match(right, other) == (right == other)


@settings(max_examples=100)
@given(completions)
def test_any_completion_is_written_and_read_again(tmp_path_factory, text):
    """In the run's rollouts and in the predictions; half a character, which no file takes, as ?"""
    folder = tmp_path_factory.getbasetemp()
    kept = text.encode(errors="replace").decode()
    prompt, ids = ask("cat"), np.zeros(1, np.int32)
    completion = Completion(
        token_ids=ids,
        rollout_logprobs=np.zeros(1, np.float32),
        text=text,
        finish_reason=FinishReason.STOP,
        policy_version=(0, 0),
    )
    group = Group(key=GroupKey("r", 0), prompt=prompt, prompt_ids=ids, completions=(completion,))
    reward = score([text], prompt, {"format": 1.0}, {"format": lambda *_: [0.0]})
    rollout = RolloutGroup(group=group, rewards=reward, advantages=np.zeros(1, np.float32))
    write_rollouts(folder, 1, [rollout])
    [line] = read_lines(folder / "rollouts" / "step_000001.jsonl")
    assert line["completions"][0]["text"] == kept

    said = Prediction(id="q", model_output=text, model_output_raw=text, finish_reason="stop")
    record = {"id": "q", "choices": list(prompt.question.choices), "answer": "dog", "task": "sound"}
    question = Question(
        id="q", question="?", choices=("dog",), answer="dog", audio="a", extra={"record": record}
    )
    write_predictions(folder / "said.json", [question], {"q": said})
    assert json.loads((folder / "said.json").read_text(encoding="utf-8"))[0]["model_output"] == kept
    file = read_prediction_file(folder / "said.json", key="model_output")
    assert file.predictions["q"].model_output_raw == kept
    score_file(file, think=None, think_max_words=50)
