"""Small real things for unit tests: questions, clips, a tiny model."""

from pathlib import Path

import numpy as np
import pytest

from keomni_rl.data.audio import log_mel
from keomni_rl.types import Clip, Question


@pytest.fixture
def question() -> Question:
    return Question(
        id="q1",
        question="What sound is heard?",
        choices=("Car", "Bus", "cat 3", "x =5"),
        answer="Car",
        audio="/nowhere/q1.wav",
    )


@pytest.fixture
def clip() -> Clip:
    samples = np.random.default_rng(0).standard_normal(12_345).astype(np.float32) * 0.1
    return Clip(samples=samples, mel=log_mel(samples))


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory) -> Path:
    from keomni_rl.models.tiny import build_tiny

    texts = ["What sound is heard? <think>I hear a siren.</think><answer>siren</answer>"] * 20
    return build_tiny(tmp_path_factory.mktemp("tiny") / "thinker", texts, seed=0)
