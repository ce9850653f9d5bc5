"""A process with math_verify for all tests of rewards, and prompts to score against."""

from collections.abc import Callable, Iterator

import pytest

from keomni_rl.rewards.verifier import MathVerifier
from keomni_rl.types import Prompt, Question


@pytest.fixture(scope="session")
def verifier() -> Iterator[MathVerifier]:
    verifier = MathVerifier()
    yield verifier
    verifier.close()


@pytest.fixture(scope="session")
def ask() -> Callable[..., Prompt]:
    """Makes a prompt of a solution and the other choices."""

    def ask(solution: str | None, *others: str) -> Prompt:
        choices = (solution or "", *(others or ("other",)))
        question = Question(id="q7", question="?", choices=choices, answer=solution, audio="a.wav")
        return Prompt(question=question, text="")

    return ask
