"""Whether a think keeps to the number of words that the prompt allows."""

from keomni_rl.data.prompts import THINK


def num_think_words(text: str) -> int:
    """Words between the think tags; a think that was cut off reaches to the end of the text."""
    after = text.partition(THINK[0])[2]
    return len(after.partition(THINK[1])[0].split())


def within_limit(text: str, max_words: int) -> float:
    """1 if the think has fewer words than ``max_words``, else 0."""
    return float(num_think_words(text) < max_words)
