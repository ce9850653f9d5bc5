"""The one template: a question becomes the text a model reads, its answer comes apart again.

Training and evaluation both come through here, so they cannot drift apart.
"""

from keomni_rl.errors import DataError
from keomni_rl.types import Prompt, Question

THINK = ("<think>", "</think>")
ANSWER = ("<answer>", "</answer>")
RESERVED = ("<|", "|>", *THINK, *ANSWER)
"""Pieces of text with a meaning to the model or to the rewards; a question must not hold them."""


def make_prompt(question: Question, *, think: bool, think_max_words: int) -> Prompt:
    """Render a question as Ke-Omni-R trained it: question, options as a list, what to put out.

    Args:
        question: what is asked.
        think: ask for a think before the answer.
        think_max_words: the limit to name; 0 names none.

    Raises:
        DataError: the question or a choice holds reserved text.
    """
    for text in (question.question, *question.choices):
        if found := [piece for piece in RESERVED if piece in text]:
            raise DataError(
                f"question {question.id!r}: {text!r} holds {found[0]!r}, which the model and the "
                "rewards would take as their own; remove it"
            )
    limit = f" (less than {think_max_words} words)" if think_max_words else ""
    task = (
        f"Output the thinking process{limit} in <think> </think> and final answer in "
        "<answer> </answer>."
        if think
        else "Directly output the final answer in <answer> </answer>."
    )
    options = f"Please choose the answer from the following options: {list(question.choices)}."
    return Prompt(question=question, text=f"{question.question} {options} {task}")


def split_completion(text: str) -> tuple[str, str | None]:
    """The think and the answer of a completion, trimmed; the answer is None without its tags.

    The first complete pair of tags counts. One pass over the text, whatever it holds.
    """
    return _between(text, THINK) or "", _between(text, ANSWER)


def _between(text: str, tags: tuple[str, str]) -> str | None:
    start = text.find(tags[0])
    if start < 0:
        return None
    start += len(tags[0])
    end = text.find(tags[1], start)
    return text[start:end].strip() if end >= 0 else None
