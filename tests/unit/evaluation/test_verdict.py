import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from keomni_rl.evaluation.verdict import (
    alphanumeric_match,
    chosen_position,
    extract_answer,
    strict_match,
    string_match,
)

MAN = ("Man", "Woman", "Child", "Robot")
LETTERED = ("(A) Man", "(B) Woman")
C = ("C major", "C minor", "G major", "A minor")
NUMBERS = ("two", "three", "four", "five")
TWENTY = ("two", "twenty-two", "three", "four")
LOUD = ("It's loud", "It's soft")
ORDERS = ("first: neutral, second: frustration", "first: frustration, second: neutral")
ANY = st.text(st.characters(exclude_categories=()), max_size=60)

OFFICIAL = [
    ("Man", "man.", MAN, True),
    ("Man", "The answer is Man", MAN, True),
    ("Man", "Man, not Woman", MAN, False),
    ("Man", "", MAN, False),
    ("Man", "   ", MAN, False),
    ("Man", "!!!", MAN, False),
    ("Man", "(A) Man", MAN, True),
    ("Man", "A", MAN, False),
    ("Man", "Men", MAN, False),
    ("(A) Man", "Man", LETTERED, False),
    ("(A) Man", "a man", LETTERED, True),
    ("C major", "major C", C, True),
    ("C major", "C", C, False),
    ("C major", "A C major chord", C, False),
    ("two", "2", NUMBERS, False),
    ("two", "two or three", NUMBERS, False),
    ("two", "twenty-two", TWENTY, False),
    ("twenty-two", "twenty two", TWENTY, True),
    (
        "Cannot be determined",
        "cannot be determined from the audio",
        ("Cannot be determined", "From the left"),
        False,
    ),
    ("It's loud", "its loud", LOUD, False),
    ("It's loud", "It\u2019s loud", LOUD, True),
    ("ice_cream", "ice cream", ("ice_cream", "cake"), False),
    ("1.63 seconds", "63.1 seconds", ("1.63 seconds", "2.74 seconds"), True),
    ("1.63 seconds", "1.63", ("1.63 seconds", "2.74 seconds"), False),
    ("dog", "dog cat", ("dog", "dog cat"), False),
    ("dog cat", "dog", ("dog", "dog cat"), False),
    ("Both", "<think>Maybe Woman</think><answer>Both</answer>", ("Both", "Woman"), False),
    ("Both", "<answer>Both</answer>", ("Both", "Woman"), True),
    (ORDERS[0], ORDERS[1], ORDERS, True),
    ("no", "there is no doubt", ("yes", "no"), True),
    ("F#", "F", ("F#", "G"), True),
    ("F#", "F# major", ("F#", "F"), True),
    ("4/4", "4", ("4/4", "3/4"), True),
    ("4/4", "3/4", ("4/4", "3/4"), False),
    ("3/4", "4/3", ("4/4", "3/4"), True),
    ("Caf\u00e9", "CAF\u00c9", ("Caf\u00e9", "Bar"), True),
]


@pytest.mark.parametrize(("answer", "prediction", "choices", "verdict"), OFFICIAL)
def test_the_official_verdict(answer, prediction, choices, verdict):
    assert string_match(answer, prediction, choices) is verdict


@pytest.mark.parametrize(
    ("answer", "prediction", "verdict"),
    [
        ("Man", "Man", True),
        ("Man", " Man\n", True),
        ("Man ", "Man", True),  # a few gold answers carry a space
        (" anger, joy", "anger, joy ", True),
        ("Man", "man", False),
        ("Man", "Man.", False),
        ("Man", "(A) Man", False),
        ("Man", "", False),
        ("", "", False),
    ],
)
def test_the_strict_verdict(answer, prediction, verdict):
    assert strict_match(answer, prediction) is verdict


@pytest.mark.parametrize(
    ("answer", "raw", "verdict"),
    [
        ("Man", "<think>Woman?</think><answer>man.</answer>", True),
        ("Man", "<answer>\n M a n \n</answer> and more", True),
        ("F#", "<answer>F</answer>", True),
        ("3/4", "<answer>34</answer>", True),
        ("1.5", "<answer>15</answer>", True),
        ("ice_cream", "<answer>ice cream</answer>", True),
        ("Caf\u00e9", "<answer>CAF\u00c9</answer>", True),
        ("Man", "Man", False),  # nothing without tags
        ("Man", "<answer>Man", False),
        ("Man", "</answer><answer>Man", False),
        ("Man", "<answer>The answer is Man</answer>", False),
        ("Man", "<answer>Man</answer><answer>Man</answer>", False),  # greedy: both, and tags
        ("Man", "<answer>Wo</answer>man</answer>", False),
        ("C major", "<answer>major C</answer>", False),
        ("#", "<answer></answer>", True),  # nothing is left of either
    ],
)
def test_the_alphanumeric_verdict(answer, raw, verdict):
    assert alphanumeric_match(answer, raw) is verdict


@given(ANY, st.lists(st.sampled_from(["<answer>", "</answer>", "Man", " ", "x", "\n"]), max_size=9))
@example("Man", ["</answer>", "<answer>", "Man", "</answer>"])
def test_the_alphanumeric_verdict_is_that_of_its_greedy_pattern(answer, pieces):
    raw = "".join(pieces)
    found = re.search(r"<answer>([\s\S]*)</answer>", raw)

    def kept(text):
        return "".join(c for c in text if c.isalnum()).lower()

    wanted = found is not None and kept(found[1]) == kept(answer)
    assert alphanumeric_match(answer, raw) is wanted


@pytest.mark.parametrize(
    ("prediction", "choices", "place"),
    [
        ("Woman", MAN, 1),
        ("the answer is woman", MAN, 1),
        ("Man or Woman", MAN, None),
        ("nobody", MAN, None),
        ("", MAN, None),
        ("", ("", "Man"), None),
        ("dog ", ("cat", "dog"), 1),
        ("dog", ("cat", " dog"), 1),
        ("joy", ("anger", "joy", "joy"), 1),  # listed twice: the first
        (ORDERS[1], ORDERS, 1),  # the very choice, though the verdict would take it for both
        ("frustration first, neutral second", ORDERS, None),
    ],
)
def test_which_choice_an_answer_names(prediction, choices, place):
    assert chosen_position(prediction, choices) == place


def test_the_answer_is_taken_out_of_its_tags():
    assert extract_answer("<think>a</think><answer> Man\n</answer>") == "Man"
    assert extract_answer("  Man \n") == "Man"
    assert extract_answer("<answer>Man") == "<answer>Man"
    assert extract_answer("<answer></answer>") == ""


@given(ANY, ANY, st.lists(ANY, max_size=8))
def test_no_text_makes_a_verdict_raise(answer, prediction, choices):
    assert string_match(answer, prediction, choices) in (True, False)
    assert strict_match(answer, prediction) in (True, False)
    assert alphanumeric_match(answer, prediction) in (True, False)
    place = chosen_position(prediction, choices)
    assert place is None or 0 <= place < len(choices)
    extract_answer(prediction)


@given(st.lists(st.text(min_size=1), min_size=2, max_size=8), st.data())
def test_the_right_choice_itself_is_right_whenever_it_has_a_word(choices, data):
    answer = data.draw(st.sampled_from(choices))
    has_word = re.search(r"\w", answer.lower()) is not None
    assert string_match(answer, answer, choices) is has_word
