"""MMAU's verdict on an answer, as the benchmark's own script gives it."""

import re
from collections.abc import Sequence

WORD = re.compile(r"\b\w+\b")


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


def _words(text: str) -> set[str]:
    return set(WORD.findall(text.lower()))
