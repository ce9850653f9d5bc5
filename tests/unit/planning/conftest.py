"""Shapes, configurations and rates to plan with."""

import json
from pathlib import Path

import pytest

from keomni_rl.config import RunConfig
from keomni_rl.config.schema import LearnerConfig
from keomni_rl.models.tiny import build_tiny
from keomni_rl.planning.rates import Rates
from keomni_rl.planning.shape import ModelShape, model_shape

TEXTS = ["What sound is heard? <answer>siren</answer>"] * 20
SIZES = {
    "3b": {
        "hidden_size": 2048,
        "intermediate_size": 11008,
        "num_hidden_layers": 36,
        "num_attention_heads": 16,
        "num_key_value_heads": 2,
        "vocab_size": 151936,
    },
    "7b": {
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "vocab_size": 152064,
    },
}
"""Of Qwen2.5-Omni's language models, as their config.json give them."""


def write_omni(folder: Path, size: str, layout: str = "full") -> Path:
    """A model folder that holds a config.json and nothing else."""
    text = SIZES[size]
    audio = {"output_dim": text["hidden_size"]}
    thinker = {
        "model_type": "qwen2_5_omni_thinker",
        "text_config": text,
        "audio_config": audio,
        "tie_word_embeddings": False,
    }
    whole = {"model_type": "qwen2_5_omni", "thinker_config": thinker}
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(whole if layout == "full" else thinker))
    return folder


def run_config(**sections) -> RunConfig:
    """A run with its model in a folder that nobody looks into."""
    needed = {"run_dir": "run", "model": {"path": "model"}, "data": {"train": ["train.jsonl"]}}
    return RunConfig.model_validate(needed | sections)


@pytest.fixture(scope="session", params=["qwen2_5_omni", "qwen2_audio"])
def any_model(request, tmp_path_factory) -> Path:
    """A tiny random checkpoint of each family."""
    return build_tiny(tmp_path_factory.mktemp("any") / "model", TEXTS, seed=0, family=request.param)


@pytest.fixture(scope="session")
def rates() -> Rates:
    return Rates.model_validate(
        {
            "model": "qwen2_5_omni 28x3584, audio 32x1280",
            "dtype": "bfloat16",
            "machine": {"cpu": "some", "cores": 16, "gpu": "some"},
            "units": {"rollout": 1, "learner": 1, "reference": 1},
            "prefill": {"fixed_s": 0.02, "per_s": 20_000},
            "decode": {"fixed_s": 0.01, "per_s": 20_000},
            "reference": {"fixed_s": 0.05, "per_s": 15_000},
            "learner": {"fixed_s": 0.5, "per_s": 5_000},
            "transfer": {"fixed_s": 0.1, "per_s": 1e11},
            "audio": {"fixed_s": 0, "per_s": 1_000},
            "reward": {"fixed_s": 0, "per_s": 1_000},
        }
    )


@pytest.fixture(scope="session")
def omni_7b(tmp_path_factory) -> ModelShape:
    return model_shape(write_omni(tmp_path_factory.mktemp("omni") / "7b", "7b"), LearnerConfig())
