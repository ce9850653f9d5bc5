"""Whether the right choice was named."""

from keomni_rl.data.prompts import split_completion
from keomni_rl.errors import DataError
from keomni_rl.types import Prompt


def accuracy(text: str, prompt: Prompt) -> float:
    """1 if the answer, trimmed, is the solution exactly, else 0.

    Without answer tags the whole text counts as the answer, as in both seed systems.

    Raises:
        DataError: the question has no answer to compare with.
    """
    solution = prompt.question.answer
    if solution is None:
        raise DataError(f"question {prompt.id!r} has no answer to score against; wanted one")
    answer = split_completion(text)[1]
    said = text.strip() if answer is None else answer
    return float(said == solution.strip())
