"""What is looked at before a run starts, on real files and the tiny model."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import save_file

from keomni_rl.config import RunConfig, load_config
from keomni_rl.config.schema import LearnerConfig
from keomni_rl.driver import preflight, prompt_room
from keomni_rl.driver.prompt_room import num_prompt_tokens
from keomni_rl.errors import ConfigError, DataError
from keomni_rl.models.adapters import DOWN, SCALE, UP
from keomni_rl.models.family import find_family

SUPERVISED = ("algo.kind=supervised", "algo.beta=0", "algo.importance_cap=null")
LONG = "What is heard " + "again and again " * 30 + "?"
SECONDS = 2.0


def row(name: str, question: str = "What is heard?") -> dict:
    choices = ["a dog", "a cat"]
    return {
        "id": name,
        "question": question,
        "choices": choices,
        "answer": choices[0],
        "audio": "a.wav",
    }


@pytest.fixture
def inputs(tiny_model, tmp_path, monkeypatch):
    """Words of a configuration whose training set has one long question, the third of six."""
    monkeypatch.chdir(tmp_path)
    soundfile.write("a.wav", np.zeros(int(SECONDS * 8_000)), 8_000)
    rows = [row(f"q{n}", LONG if n == 2 else "What is heard?") for n in range(6)]
    Path("train.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    Path("heldout.jsonl").write_text(json.dumps(row("held out")) + "\n")
    return ("run_dir=r", f"model.path={tiny_model}", "data.train=[train.jsonl]")


def opened(*words: str) -> preflight.Inputs:
    return preflight.open_inputs(load_config(RunConfig, words))


def tokens_of(model: Path, number: int) -> int:
    family = find_family(model)
    stream = opened("run_dir=r", f"model.path={model}", "data.train=[train.jsonl]").stream
    text = stream.rendered(number).text
    return num_prompt_tokens(family, family.load_processor(model), text, SECONDS)


def room_for(num_tokens: int) -> tuple[str, ...]:
    return (f"engine.max_model_len={num_tokens + 64}", "rollout.max_new_tokens=64")


def test_the_one_prompt_that_is_too_long_is_named_wherever_it_stands(inputs, tiny_model):
    longest = tokens_of(tiny_model, 2)
    assert longest > tokens_of(tiny_model, 1)
    opened(*inputs, *room_for(longest))  # its own clip is short, whatever max_audio_s allows
    message = (
        rf"question 'q2': its prompt takes {longest} tokens with 2.0 s of audio, and "
        rf"rollout.max_new_tokens: 64 more, over engine.max_model_len: {longest + 63}"
    )
    with pytest.raises(ConfigError, match=message):
        opened(*inputs, *room_for(longest - 1))


def test_questions_that_are_not_used_are_not_measured(inputs, tiny_model):
    room = room_for(tokens_of(tiny_model, 2) - 1)
    counted = "data.train=[{file: train.jsonl, count: 1}]"
    seeds = [f"train.seed={n}" for n in range(8)]
    chosen = {opened(*inputs, counted, seed).stream.rendered(0).id: seed for seed in seeds}
    opened(*inputs, counted, next(seed for name, seed in chosen.items() if name != "q2"), *room)


def test_prompts_of_an_evaluation_are_measured_too(inputs, tiny_model):
    words = ("evaluation.file=heldout.jsonl", "evaluation.max_new_tokens=500")
    with pytest.raises(
        ConfigError, match=r"question 'held out': .* evaluation.max_new_tokens: 500"
    ):
        opened(*inputs, *words, f"engine.max_model_len={tokens_of(tiny_model, 2) + 64}")
    opened(*inputs, *words)


def test_supervised_training_without_an_engine_has_no_limit(inputs):
    opened(*inputs, *SUPERVISED, "engine.max_model_len=80")


def test_beyond_a_number_of_doubtful_prompts_the_rest_is_told_to_be_unseen(
    inputs, tiny_model, monkeypatch, caplog
):
    monkeypatch.setattr(prompt_room, "NUM_MEASURED", 2)
    opened(*inputs, *room_for(tokens_of(tiny_model, 1)))
    assert "more than 2 prompts could be too long" in caplog.text
    assert "lower max_audio_s" in caplog.text


def test_a_text_that_no_prompt_may_hold_is_found_before_the_run(inputs):
    rows = [row("a"), row("b", "What <think> is heard?")]
    Path("train.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    with pytest.raises(DataError, match="question 'b'.*holds '<think>'"):
        opened(*inputs)


def test_rewards_are_looked_for_only_where_they_score(inputs):
    unknown = "reward.weights={acuracy: 1.0}"
    with pytest.raises(ConfigError, match="unknown reward 'acuracy'"):
        opened(*inputs, unknown)
    opened(*inputs, *SUPERVISED, unknown)


def checkpoint(folder: Path, **notes: str) -> Path:
    layer = "model.layers.0.self_attn.q_proj"
    tensors = {layer + UP: torch.zeros(16, 4), layer + DOWN: torch.zeros(4, 16)}
    folder.mkdir(exist_ok=True)
    save_file(tensors, folder / "policy-00000.safetensors", notes)
    return folder


@pytest.mark.parametrize("alpha", [8, 5])
def test_adapters_of_a_checkpoint_are_those_asked_for(tmp_path, alpha):
    path = checkpoint(tmp_path, **{SCALE: str(alpha / 4)})
    for lora, is_same in (
        ({"rank": 4, "alpha": alpha}, True),
        ({"rank": 8, "alpha": 2 * alpha}, False),
        ({"rank": 4, "alpha": alpha + 1}, False),
    ):
        config = LearnerConfig.model_validate({"trained": "lora", "lora": lora})
        if is_same:
            preflight.check_adapters(path, config)
            continue
        with pytest.raises(ConfigError, match=f"holds adapters of rank 4 and alpha {alpha};"):
            preflight.check_adapters(path, config)


def test_adapters_and_whole_weights_are_told_apart(tmp_path):
    whole, adapted = LearnerConfig(), LearnerConfig(trained="lora")
    preflight.check_adapters(checkpoint(tmp_path), whole)
    with pytest.raises(ConfigError, match="rank 8 and alpha 32, but .* holds no adapters"):
        preflight.check_adapters(checkpoint(tmp_path), adapted)
    with pytest.raises(ConfigError, match="no adapters, but .* holds adapters of rank 4"):
        preflight.check_adapters(checkpoint(tmp_path, **{SCALE: "2.0"}), whole)


def test_a_prompt_is_measured_at_most(tiny_model):
    family = find_family(tiny_model)
    processor = family.load_processor(tiny_model)
    for seconds in (0.1, 1.0, 9.999):
        frames = math.ceil(seconds * 100) + 2
        exact = len(family.prompt_ids(processor, "What?", frames))
        assert exact < num_prompt_tokens(family, processor, "What?", seconds) <= exact + 2
