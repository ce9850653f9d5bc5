"""Whether a think keeps to the number of words that the prompt allows."""

from keomni_rl.data.prompts import split_completion


def num_think_words(text: str) -> int:
    """Words between the think tags."""
    return len(split_completion(text)[0].split())


def within_limit(text: str, max_words: int) -> float:
    """1 if the think has fewer words than ``max_words``, else 0."""
    return float(num_think_words(text) < max_words)
