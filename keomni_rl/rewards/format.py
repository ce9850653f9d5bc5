"""Whether the completion has the asked form, and nothing around it."""

import re

from keomni_rl.data.prompts import ANSWER, THINK
from keomni_rl.types import Prompt

# Possessive and atomic groups keep both linear in the text's length.
ANSWER_ONLY = re.compile(r"<answer>.*</answer>", re.DOTALL)
BETWEEN = re.compile(r"</think>\s*+<answer>")


def format_reward(text: str, prompt: Prompt, *, think: bool, compat: bool = False) -> float:
    """1 for ``<think>..</think> <answer>..</answer>`` (or the answer alone), else 0.

    The text must begin and end with the tags: white space around them fails, between them not.
    Each tag stands once; with ``compat``, as in both seed systems, blocks may be repeated and tags
    stand inside of others.
    """
    is_framed = _is_framed(text, think=think)
    return float(is_framed and (compat or _has_each_tag_once(text, think=think)))


def _is_framed(text: str, *, think: bool) -> bool:
    if not think:
        return ANSWER_ONLY.fullmatch(text) is not None
    if not (text.startswith(THINK[0]) and text.endswith(ANSWER[1])):
        return False
    return BETWEEN.search(text, len(THINK[0]), len(text) - len(ANSWER[1])) is not None


def _has_each_tag_once(text: str, *, think: bool) -> bool:
    thinks, answers = {text.count(tag) for tag in THINK}, {text.count(tag) for tag in ANSWER}
    return thinks == {int(think)} and answers == {1}
