"""Questions and predictions to judge."""

import pytest

from keomni_rl.types import Prediction, Question


@pytest.fixture
def ask():
    """Make a question; the answer is the first choice unless another is given."""

    def make(i: str, task: str = "sound", choices=("dog", "cat"), answer="", **extra) -> Question:
        fields = {"task": task, "difficulty": "easy", "sub-category": "Counting"} | extra
        return Question(
            id=i,
            question="?",
            choices=choices,
            answer=choices[0] if answer == "" else answer,
            audio="",
            extra=fields,
        )

    return make


@pytest.fixture
def say():
    """Make a prediction with a think of one word."""

    def make(i: str, text: str, raw: str | None = None, **more) -> Prediction:
        raw = f"<think>hm</think><answer>{text}</answer>" if raw is None else raw
        return Prediction(
            id=i,
            model_output=text,
            model_output_raw=raw,
            **{"finish_reason": "stop", **more},
        )

    return make
