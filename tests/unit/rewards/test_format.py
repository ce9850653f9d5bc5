import re

from hypothesis import example, given, settings
from hypothesis import strategies as st

from keomni_rl.rewards.format import format_reward

TAGS = ["<think>", "</think>", "<answer>", "</answer>", " ", "\n", "x"]
SEEDS = {
    True: re.compile(r"<think>.*?</think>\s*<answer>.*?</answer>", re.DOTALL),
    False: re.compile(r"<answer>.*?</answer>", re.DOTALL),
}
# At random, few texts would be well formed: half of them are put between the right tags.
texts = st.builds(
    lambda pieces, frame: frame[0] + "".join(pieces) + frame[1],
    st.lists(st.sampled_from(TAGS) | st.text(max_size=3), max_size=8),
    st.sampled_from(
        [("", ""), ("<answer>", "</answer>"), ("<think>", "</think><answer></answer>")]
    ),
)


@settings(max_examples=1_000)
@given(text=texts, think=st.booleans())
@example(text="<answer></answer>", think=False)
@example(text="<answer>", think=False)  # opening and closing tag may not share letters
@example(text="<think></think><answer>", think=True)
def test_compat_is_that_of_the_seeds(text, think, ask):
    expected = SEEDS[think].fullmatch(text) is not None
    assert format_reward(text, ask("Car"), think=think, compat=True) == expected


@settings(max_examples=1_000)
@given(text=texts, think=st.booleans())
def test_by_default_each_tag_stands_once(text, think, ask):
    is_once = all(text.count(t) == 1 for t in TAGS[2:4]) and all(
        text.count(t) == int(think) for t in TAGS[:2]
    )
    expected = is_once and SEEDS[think].fullmatch(text) is not None
    assert format_reward(text, ask("Car"), think=think) == expected


def test_blocks_that_are_repeated_or_nested(ask):
    for text, think in [
        ("<answer>Car</answer><answer>Car</answer>", False),
        ("<answer><answer>Car</answer>", False),
        ("<answer><think>so</think>Car</answer>", False),
        ("<think>a</think><think>b</think><answer>Car</answer>", True),
        ("<think>a</think><answer>Car</answer> so <answer>Car</answer>", True),
    ]:
        assert format_reward(text, ask("Car"), think=think) == 0
        assert format_reward(text, ask("Car"), think=think, compat=True) == 1


def test_it_is_linear_in_the_text(ask):
    # Nested lazy quantifiers would need hours for this.
    prompt = ask("Car")
    for compat in (False, True):
        for text, think in [
            ("<think>" * 200_000, True),
            ("<think>" + "</think> " * 100_000, True),
            ("<think>" + "</think>" + " " * 500_000, True),
            ("<answer>" * 200_000, False),
        ]:
            assert format_reward(text, prompt, think=think, compat=compat) == 0
