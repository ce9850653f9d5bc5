"""``train --check``: all that can be known before a run, and what the run would start."""

import json
import subprocess
import sys

import ray

from keomni_rl.actors.remote import check_placement, join_ray
from keomni_rl.config.schema import RunConfig
from keomni_rl.driver.preflight import describe_plan, open_inputs
from keomni_rl.driver.train import roles
from keomni_rl.errors import ConfigError, EngineError
from keomni_rl.types import Prompt


def check_run(config: RunConfig) -> list[tuple[str, str]]:
    """Check configuration, data, tokenisation and placement; start no actor.

    Returns:
        The plan, as pairs of name and description.

    Raises:
        ConfigError, DataError, CheckpointError: what would keep the run from starting.
    """
    inputs = open_inputs(config)
    num_tokens = check_round_trip(config, inputs.stream[0])
    join_ray(config.placement.address)
    try:
        check_placement(config.placement, roles(config))
        resources = ray.cluster_resources()
    finally:
        ray.shutdown()
    there = f"{resources.get('CPU', 0):g} CPUs, {resources.get('GPU', 0):g} GPUs"
    return [
        *describe_plan(config, inputs),
        ("first prompt", f"{num_tokens} tokens, the same ids in learner and engine"),
        ("cluster", there),
    ]


def check_round_trip(config: RunConfig, prompt: Prompt) -> int:
    """Tokenise one prompt with its clip as the learner and as vLLM do; returns its length.

    Raises:
        EngineError: vLLM cannot process it.
        ConfigError: the two differ, or the prompt leaves no room for a completion.
    """
    asked = {
        "model": str(config.model.path),
        "text": prompt.text,
        "audio": prompt.question.audio,
        "max_audio_s": config.data.max_audio_s,
    }
    done = subprocess.run(
        [sys.executable, "-m", "keomni_rl.engines.round_trip"],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise EngineError(f"vLLM cannot process question {prompt.id!r}:\n{done.stderr[-2000:]}")
    ids = json.loads(done.stdout.strip().splitlines()[-1])
    if ids["learner"] != ids["engine"]:
        raise ConfigError(
            f"question {prompt.id!r} becomes {len(ids['learner'])} tokens in the learner and "
            f"{len(ids['engine'])} in vLLM, or other ones; the model folder's tokenizer, chat "
            "template and feature extractor must belong together"
        )
    needed = len(ids["engine"]) + config.rollout.max_new_tokens
    if needed > config.rollout.max_model_len:
        raise ConfigError(
            f"question {prompt.id!r} with its completion takes {needed} tokens, over "
            f"rollout.max_model_len: {config.rollout.max_model_len}; raise it"
        )
    return len(ids["engine"])
