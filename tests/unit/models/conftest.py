"""A tiny random checkpoint of each family."""

from pathlib import Path

import pytest

from keomni_rl.models.tiny import build_tiny

TEXTS = ["What sound is heard? <think>I hear a siren.</think><answer>siren</answer>"] * 20


@pytest.fixture(scope="session", params=["qwen2_5_omni", "qwen2_audio"])
def any_model(request, tmp_path_factory) -> Path:
    """The test runs once for each family."""
    out = tmp_path_factory.mktemp("any") / request.param
    return build_tiny(out, TEXTS, seed=0, family=request.param)


@pytest.fixture(scope="session")
def qwen2_audio_model(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("tiny") / "qwen2_audio"
    return build_tiny(out, TEXTS, seed=0, family="qwen2_audio")
