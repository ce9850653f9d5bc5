import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keomni_rl.errors import DataError
from keomni_rl.rewards.accuracy import accuracy, seeds_accuracy

PIECES = [
    "<answer>",
    "</answer>",
    "<think>",
    "</think>",
    " ",
    "\n",
    "Car",
    "3",
    "$",
    "\\frac{1}{2}",
]
texts = st.text(max_size=30) | st.lists(st.sampled_from(PIECES), max_size=10).map("".join)


def none_equal(pairs):
    return [False] * len(pairs)


def equal_of(**equal):
    """Says that pairs are equal by a table: gold=target."""
    return lambda pairs: [equal.get(gold) == target for gold, target in pairs]


def seeds_answer(text: str) -> str:
    """As the seeds' source has it."""
    match = re.search(r"<answer>(.*?)</answer>", text)
    return match.group(1).strip() if match else text.strip()


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("<answer>\tCar \n</answer>", 1),
        ("<answer>\n\nCar</answer>", 1),
        ("  Car\r\n", 1),
        ("<answer>Car\nBus</answer>", 0),
        ("<answer>C ar</answer>", 0),
        ("<answer>Bus</answer>", 0),  # another choice
        ("<answer>Car or Bus</answer>", 0),
        ("<answer>'Car'</answer>", 0),
        ("<answer>Boat</answer>", 0),
        ("Car <answer>Bus</answer>", 0),
        ("<think>Car</think>", 0),
        ("<think>Car</think>Car", 0),  # neither in tags nor alone
        ("</answer>Car<answer>", 0),
        ("<answer>Car", 0),
        ("<answer></answer>", 0),
        ("<answer></answer>Car", 0),
    ],
)
def test_the_answer_is_the_solution_once_trimmed(text, right, ask):
    assert accuracy([text], ask("Car", "Bus")) == [right]


def test_the_solution_is_trimmed_too(ask):
    assert accuracy(["<answer>Car</answer>", " Car"], ask("Car ", "Bus")) == [1, 1]


def test_an_empty_solution_is_an_answer_like_others(ask):
    assert accuracy(["<answer> </answer>", "x"], ask("", "Bus")) == [1, 0]


def test_a_question_without_an_answer_is_refused(ask):
    with pytest.raises(DataError, match="'q7' has no answer"):
        accuracy(["Car"], ask(None))
    with pytest.raises(DataError, match="'q7' has no answer"):
        seeds_accuracy(["Car"], ask(None), verify=none_equal)


def test_mathematics_speaks_of_answers_in_tags_that_are_no_choice(ask, verifier):
    prompt = ask("about 2 seconds", "two times", "3 seconds")

    def score(*texts):
        return accuracy(texts, prompt, verify=verifier.verify)

    assert score("<answer>2</answer>", "<answer>4/2</answer>") == [1, 1]
    assert score("<answer>3</answer>", "<answer>3 seconds</answer>") == [0, 0]
    assert score("2", "<think>2</think>", "<answer>2", "<answer>two</answer>") == [0, 0, 0, 0]
    assert score("<answer>about 2 seconds</answer>") == [1]


def test_an_equal_number_is_wrong_where_it_is_a_choice_of_its_own(ask, verifier):
    metres = ask("3/4", "6/8", "4/4")
    texts = ["<answer>6/8</answer>", "<answer>12/16</answer>", "<answer>3/4</answer>"]
    # 12/16 equals two of the choices, so it names none.
    assert accuracy(texts, metres, verify=verifier.verify) == [0, 0, 1]
    assert accuracy(["<answer>12/16</answer>"], ask("3/4", "4/4"), verify=verifier.verify) == [1]


def test_gold_is_the_choice_and_target_the_answer(ask):
    prompt = ask("gold", "other")
    text = "<answer>target</answer>"
    assert accuracy([text], prompt, verify=equal_of(gold="target")) == [1]
    assert accuracy([text], prompt, verify=equal_of(target="gold")) == [0]
    assert accuracy([text], prompt, verify=equal_of(gold="target", other="target")) == [0]


def test_the_seeds_swap_gold_and_target(ask):
    prompt, text = ask("gold"), "<answer>target</answer>"
    solution = "<answer>gold</answer>"
    assert seeds_accuracy([text], prompt, verify=equal_of(**{text: solution})) == [1]
    assert seeds_accuracy([text], prompt, verify=equal_of(**{solution: text})) == [0]


def test_the_order_matters_to_math_verify(ask, verifier):
    inequality, interval = " $1<x<2$ ", " $(1,2)$ "
    said = f"<answer>{interval}</answer>"
    assert accuracy([said], ask(inequality), verify=verifier.verify) == [1]
    assert seeds_accuracy([said], ask(inequality), verify=verifier.verify) == [0]


def test_mathematics_is_asked_only_of_what_text_does_not_decide(ask):
    asked = []

    def verify(pairs):
        asked.extend(pairs)
        return [True] * len(pairs)

    texts = ["<answer>Car</answer>", "Car", "<answer>Bus</answer>"]
    assert seeds_accuracy(texts, ask("Car"), verify=verify) == [1, 1, 1]
    assert asked == [("<answer>Bus</answer>", "<answer>Car</answer>")]
    asked.clear()
    assert accuracy(texts, ask("Car", "Bus"), verify=verify) == [1, 1, 0]
    assert asked == []


@settings(max_examples=1_000)
@given(text=texts, solution=texts)
def test_the_seeds_compare_what_their_expression_finds(text, solution, ask):
    found = seeds_accuracy([text], ask(solution), verify=none_equal)
    assert found == [seeds_answer(text) == seeds_answer(f"<answer>{solution}</answer>")]


@given(texts=st.lists(texts, max_size=8), solution=st.sampled_from(["Car", "3", "about 1/2"]))
def test_any_text_is_right_or_wrong_and_raises_nothing(texts, solution, ask, verifier):
    prompt = ask(solution, "Bus", "5")
    plain = accuracy(texts, prompt)
    honest = accuracy(texts, prompt, verify=verifier.verify)
    seeds = seeds_accuracy(texts, prompt, verify=verifier.verify)
    assert len(plain) == len(honest) == len(seeds) == len(texts)
    assert {*plain, *honest, *seeds} <= {0.0, 1.0}
    assert all(with_math >= without for with_math, without in zip(honest, plain))


def test_the_seeds_answer_is_found_in_one_pass(ask):
    # Their expression starts anew at every tag, which takes hours for this.
    text = "<answer>" * 200_000 + "\n<answer>Car</answer>"
    assert seeds_accuracy([text], ask("Car"), verify=none_equal) == [1]
