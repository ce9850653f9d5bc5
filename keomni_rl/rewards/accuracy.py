"""Whether the right choice was named: as text, and if asked for as mathematics too."""

from collections.abc import Callable, Sequence

from keomni_rl.data.prompts import ANSWER, split_completion
from keomni_rl.errors import DataError
from keomni_rl.types import Prompt

Verify = Callable[[Sequence[tuple[str, str]]], Sequence[bool]]
"""Says for each pair (gold, target) whether it is mathematically equal."""


def accuracy(texts: Sequence[str], prompt: Prompt, *, verify: Verify | None = None) -> list[float]:
    """1 for each completion whose answer, trimmed, is the solution, else 0.

    Without answer tags the whole text counts as the answer, as in both seed systems. With
    ``verify``, an answer in its tags that is none of the choices as text may be one as
    mathematics: right if it equals the solution and no other choice.

    Raises:
        DataError: the question has no answer to compare with.
    """
    solution = _solution(prompt).strip()
    tagged = {text: split_completion(text)[1] for text in texts}
    right = {solution}
    if verify is not None:
        choices = {choice.strip() for choice in prompt.question.choices} | {solution}
        open_answers = {answer for answer in tagged.values() if answer} - choices
        right |= _equal_to(solution, sorted(choices), sorted(open_answers), verify)
    said = {text: text.strip() if answer is None else answer for text, answer in tagged.items()}
    return [float(said[text] in right) for text in texts]


def seeds_accuracy(texts: Sequence[str], prompt: Prompt, *, verify: Verify) -> list[float]:
    """1 for each completion that Ke-Omni-R and R1-AQA gave 1, else 0.

    They ask math_verify about whole texts, with gold and target swapped, and then compare what is
    in the first answer tags that open and close on one line; without such tags, whole texts.

    Raises:
        DataError: the question has no answer to compare with.
    """
    solution = f"{ANSWER[0]}{_solution(prompt)}{ANSWER[1]}"
    wanted = _answer_on_a_line(solution)
    is_same = [_answer_on_a_line(text) == wanted for text in texts]
    others = [text for text, same in zip(texts, is_same, strict=True) if not same]
    equal = dict(zip(others, verify([(text, solution) for text in others]), strict=True))
    return [float(same or equal[text]) for text, same in zip(texts, is_same, strict=True)]


def _solution(prompt: Prompt) -> str:
    if prompt.question.answer is None:
        raise DataError(f"question {prompt.id!r} has no answer to score against; wanted one")
    return prompt.question.answer


def _equal_to(
    solution: str, choices: Sequence[str], answers: Sequence[str], verify: Verify
) -> set[str]:
    """Those answers that are the solution mathematically, and no other choice."""
    pairs = [(choice, answer) for answer in answers for choice in choices]
    equal = {pair for pair, is_equal in zip(pairs, verify(pairs), strict=True) if is_equal}
    return {a for a in answers if [c for c in choices if (c, a) in equal] == [solution]}


def _answer_on_a_line(text: str) -> str:
    """``re.search("<answer>(.*?)</answer>", text)``, trimmed, in one pass over the text."""
    for line in text.split("\n"):
        start = line.find(ANSWER[0])
        end = line.find(ANSWER[1], start + len(ANSWER[0]))
        if start >= 0 and end >= 0:
            return line[start + len(ANSWER[0]) : end].strip()
    return text.strip()
