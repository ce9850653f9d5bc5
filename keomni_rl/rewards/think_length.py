"""Whether a think keeps to the number of words that the prompt allows."""

from keomni_rl.data.prompts import THINK


def num_think_words(text: str) -> int:
    """Words between think tags, as white space parts them.

    All thinks of a completion count. One that was cut off reaches to the end of the text.
    """
    thinks = (after.partition(THINK[1])[0] for after in text.split(THINK[0])[1:])
    return sum(len(think.split()) for think in thinks)


def within_limit(text: str, max_words: int) -> float:
    """1 if the completion thinks in fewer words than ``max_words``, else 0."""
    return float(num_think_words(text) < max_words)
