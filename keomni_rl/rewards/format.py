"""Whether the completion has the asked form, and nothing around it."""

import re

from keomni_rl.types import Prompt

# Possessive and atomic groups keep both linear in the text's length.
ANSWER_ONLY = re.compile(r"<answer>.*</answer>", re.DOTALL)
BETWEEN = re.compile(r"</think>\s*+<answer>")


def format_reward(text: str, prompt: Prompt, *, think: bool) -> float:
    """1 for ``<think>..</think> <answer>..</answer>`` (or the answer alone), else 0.

    The text must begin and end with the tags: white space around them fails, between them not.
    """
    if not think:
        return float(ANSWER_ONLY.fullmatch(text) is not None)
    is_framed = text.startswith("<think>") and text.endswith("</answer>")
    between = BETWEEN.search(text, len("<think>"), len(text) - len("</answer>"))
    return float(is_framed and between is not None)
