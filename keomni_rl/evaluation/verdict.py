"""What counts as right: MMAU's own verdict, and two that other tools quote scores by.

The official one is the headline everywhere; the others only stand beside it.
"""

import re
from collections.abc import Sequence

from keomni_rl.data.prompts import ANSWER, split_completion

WORD = re.compile(r"\b\w+\b")


def extract_answer(raw: str) -> str:
    """The answer of a completion: what its answer tags hold, or all of it without them, trimmed."""
    answer = split_completion(raw)[1]
    return raw.strip() if answer is None else answer


def string_match(answer: str, prediction: str, choices: Sequence[str]) -> bool:
    """Right if the prediction has all words of the answer and none that only wrong choices have.

    Words are compared as sets in lower case, so order and repetition do not count. A choice whose
    words are those of the answer excludes nothing.

    Source: the evaluation script of MMAU (arXiv 2410.19168); its verdicts are kept to the letter,
    the odd ones too.
    """
    said, wanted = _words(prediction), _words(answer)
    if not said:
        return False
    wrong: set[str] = set()
    for choice in choices:
        words = _words(choice)
        if words != wanted:
            wrong |= words - wanted
    return wanted <= said and not said & wrong


def strict_match(answer: str, prediction: str) -> bool:
    """Right if the extracted answer is the right choice, letter for letter.

    White space around either is dropped, since a few of MMAU's choices carry some. Of a choice
    that is listed twice, both are right: they are the same text.
    """
    said = prediction.strip()
    return bool(said) and said == answer.strip()


def alphanumeric_match(answer: str, raw: str) -> bool:
    """NeMo-RL's verdict: the letters and digits within the answer tags are the answer's.

    Case does not count. The whole completion is read, from its first opening to its last closing
    tag; nothing is right without the tags. "F#" is "F" to it, and "3/4" is "34".

    Source: ``exact_answer_alphanumeric_reward`` of NVIDIA-NeMo/RL, which its guide scores MMAU by.
    """
    start, end = raw.find(ANSWER[0]), raw.rfind(ANSWER[1])
    if start < 0 or end < start:
        return False
    return _alphanumeric(raw[start + len(ANSWER[0]) : end]) == _alphanumeric(answer)


def chosen_position(prediction: str, choices: Sequence[str]) -> int | None:
    """Which choice an answer names, from 0; None if it names none, or several.

    The choice itself, trimmed, or else the only one that the official verdict would accept the
    answer for. Of a choice that is listed twice, the first.
    """
    texts = [choice.strip() for choice in choices]
    said = prediction.strip()
    if said and said in texts:
        return texts.index(said)
    named = {text for text in texts if string_match(text, said, texts)}
    return texts.index(named.pop()) if len(named) == 1 else None


def _words(text: str) -> set[str]:
    return set(WORD.findall(text.lower()))


def _alphanumeric(text: str) -> str:
    return "".join(letter for letter in text if letter.isalnum()).lower()
