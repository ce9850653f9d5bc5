"""The one template: a question becomes the text a model reads, its answer comes apart again.

Training and evaluation both come through here, so they cannot drift apart.
"""

from dataclasses import replace

from keomni_rl.config.schema import PromptConfig
from keomni_rl.errors import DataError
from keomni_rl.types import Prompt, Question

THINK = ("<think>", "</think>")
ANSWER = ("<answer>", "</answer>")
RESERVED = ("<|", "|>", *THINK, *ANSWER)
"""Pieces of text with a meaning to the model or to the rewards; a question must not hold them."""


TASKS = {
    "think": "Output the thinking process{limit} in <think> </think> and final answer in "
    "<answer> </answer>.",
    "no_think": "Directly output the final answer in <answer> </answer>.",
    "answer": "Output the final answer in <answer> </answer>.",
    "direct": "",
    "step_by_step": "Let's think step by step.",
}
"""Prompt style -> the sentence after the options. The last is Kojima et al., arXiv 2205.11916."""


def make_prompt(question: Question, prompt: PromptConfig, *, is_evaluation: bool = False) -> Prompt:
    """Render a question as Ke-Omni-R does: question, options as a list, what to put out.

    A question without choices is an open one: no options are named.

    Args:
        question: what is asked.
        prompt: the style, and the limit of a think.
        is_evaluation: with ``prompt.compat``, spell as Ke-Omni-R's evaluation: without the space
            before the limit that its training has.

    Raises:
        DataError: the question or a choice holds reserved text.
    """
    for text in (question.question, *question.choices):
        if found := [piece for piece in RESERVED if piece in text]:
            raise DataError(
                f"question {question.id!r:.80}: {text!r:.200} holds {found[0]!r}, which the model "
                "and the rewards would take as their own; remove it"
            )
    space = "" if is_evaluation and prompt.compat else " "
    words = prompt.think_max_words
    task = TASKS[prompt.style].format(limit=f"{space}(less than {words} words)" if words else "")
    parts = [question.question]
    if question.choices:
        options = list(question.choices)
        parts.append(f"Please choose the answer from the following options: {options}.")
    return Prompt(question=question, text=" ".join([*parts, task]).rstrip())


COMPLETIONS = "completions"
"""A training row's key for texts to learn, instead of its answer in the asked form."""


def make_lesson(question: Question, prompt: PromptConfig) -> Prompt:
    """Render a question with what a supervised learner is taught to say to it.

    That is the row's own ``completions``, or else its answer, in tags where the style asks for
    them. (A think cannot be made of an answer.)

    Raises:
        DataError: as `make_prompt`, or ``completions`` is no list of texts.
    """
    written = question.extra.get(COMPLETIONS)
    if written is None:
        answer = question.answer or ""
        written = [f"{ANSWER[0]}{answer}{ANSWER[1]}" if prompt.has_tags else answer]
    is_texts = isinstance(written, list) and all(isinstance(t, str) and t for t in written)
    if not (is_texts and written):
        raise DataError(
            f"question {question.id!r:.80}: {COMPLETIONS!r} is {written!r:.80}, wanted a list of "
            "texts"
        )
    return replace(make_prompt(question, prompt), written=tuple(written))


def split_completion(text: str) -> tuple[str, str | None]:
    """The think and the answer of a completion, trimmed; the answer is None without its tags.

    The first complete pair of tags counts. One pass over the text, whatever it holds.
    """
    return _between(text, THINK) or "", _between(text, ANSWER)


def split_so_far(text: str) -> tuple[str, str | None]:
    """`split_completion` of a text that goes on: a part that has begun counts as far as it is."""
    for start, end in (ANSWER, THINK):
        if start in text and end not in text:
            text += end
    return split_completion(text)


def _between(text: str, tags: tuple[str, str]) -> str | None:
    start = text.find(tags[0])
    if start < 0:
        return None
    start += len(tags[0])
    end = text.find(tags[1], start)
    return text[start:end].strip() if end >= 0 else None
