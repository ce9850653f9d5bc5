import pytest
from hypothesis import given
from hypothesis import strategies as st

from keomni_rl.rewards.think_length import num_think_words, within_limit


@pytest.mark.parametrize(
    ("text", "num_words"),
    [
        ("<think>one two  three</think><answer>x y z</answer>", 3),
        ("<answer>one two</answer>", 0),
        ("one two", 0),
        ("", 0),
        ("<think></think>", 0),
        ("<think>\n one\n\ttwo\n</think>", 2),
        ("<think>it's a well-known siren, at 3.5 kHz.</think>", 7),
        ("<think>cut off in the middle", 5),
        ("<think>one two</think> three <think>four</think><answer>x</answer>", 3),
        ("<think>one <think>two</think>", 2),
    ],
)
def test_words_of_a_think(text, num_words):
    assert num_think_words(text) == num_words


def test_less_than_fifty_words_is_forty_nine_at_most():
    def think(num_words: int) -> str:
        return f"<think>{' '.join(['word'] * num_words)}</think><answer>Car</answer>"

    assert within_limit(think(49), 50) == 1
    assert within_limit(think(50), 50) == 0
    assert within_limit(think(0), 1) == 1


@given(st.lists(st.lists(st.sampled_from(["a", "b.", "3"]), max_size=6), max_size=4))
def test_words_of_all_thinks_add_up(thinks):
    text = "so ".join(f"<think>{' '.join(words)}</think>" for words in thinks)
    assert num_think_words(text) == sum(len(words) for words in thinks)
