import pytest

from keomni_rl.evaluation.verdict import string_match

MAN = ("Man", "Woman", "Child", "Robot")
C = ("C major", "C minor", "G major", "A minor")
NUMBERS = ("two", "three", "four", "five")

CASES = [
    ("Man", "man.", MAN, True),
    ("Man", "The answer is Man", MAN, True),
    ("Man", "Man, not Woman", MAN, False),
    ("Man", "", MAN, False),
    ("Man", "   ", MAN, False),
    ("Man", "!!!", MAN, False),
    ("Man", "(A) Man", MAN, True),
    ("Man", "A", MAN, False),
    ("Man", "Men", MAN, False),
    ("(A) Man", "Man", ("(A) Man", "(B) Woman"), False),
    ("(A) Man", "a man", ("(A) Man", "(B) Woman"), True),
    ("C major", "major C", C, True),
    ("C major", "C", C, False),
    ("C major", "A C major chord", C, False),
    ("two", "2", NUMBERS, False),
    ("two", "two or three", NUMBERS, False),
    ("two", "twenty-two", ("two", "twenty-two", "three", "four"), False),
    ("twenty-two", "twenty two", ("two", "twenty-two", "three", "four"), True),
    ("It's loud", "its loud", ("It's loud", "It's soft"), False),
    ("It's loud", "It\u2019s loud", ("It's loud", "It's soft"), True),
    ("ice_cream", "ice cream", ("ice_cream", "cake"), False),
    ("1.63 seconds", "63.1 seconds", ("1.63 seconds", "2.74 seconds"), True),
    ("1.63 seconds", "1.63", ("1.63 seconds", "2.74 seconds"), False),
    ("dog", "dog cat", ("dog", "dog cat"), False),
    ("dog cat", "dog", ("dog", "dog cat"), False),
    ("Both", "<think>Maybe Woman</think><answer>Both</answer>", ("Both", "Woman"), False),
    ("Both", "<answer>Both</answer>", ("Both", "Woman"), True),
    ("no", "there is no doubt", ("yes", "no"), True),
    ("F#", "F", ("F#", "G"), True),
    ("4/4", "4", ("4/4", "3/4"), True),
    ("4/4", "3/4", ("4/4", "3/4"), False),
    ("3/4", "4/3", ("4/4", "3/4"), True),
    ("Caf\u00e9", "CAF\u00c9", ("Caf\u00e9", "Bar"), True),
]


@pytest.mark.parametrize(("answer", "prediction", "choices", "verdict"), CASES)
def test_the_official_verdict(answer, prediction, choices, verdict):
    assert string_match(answer, prediction, choices) is verdict
