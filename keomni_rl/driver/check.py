"""``train --check``: what the run would start, and all that would keep it from starting."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import ray

from keomni_rl.actors.placement import check_placement
from keomni_rl.actors.remote import join_ray
from keomni_rl.config.idle import idle_settings
from keomni_rl.config.schema import RunConfig
from keomni_rl.data.mmau import find_version
from keomni_rl.driver import preflight
from keomni_rl.driver.plan import describe_plan
from keomni_rl.driver.topology import roles
from keomni_rl.errors import USER_ERRORS, ConfigError, EngineError
from keomni_rl.models.hub import is_here
from keomni_rl.observe.trackers import check_trackers
from keomni_rl.storage.store import open_store
from keomni_rl.types import Prompt

ResultT = TypeVar("ResultT")
LOOKED_FOR: tuple[type[Exception], ...] = (*USER_ERRORS, EngineError)


@dataclass
class Check:
    """What was found: the plan as pairs of name and description, and every problem."""

    plan: list[tuple[str, str]]
    problems: list[str] = field(default_factory=list)

    def attempt(self, look: Callable[[], ResultT]) -> ResultT | None:
        """Look at one thing; a problem is kept and the next thing looked at."""
        try:
            return look()
        except LOOKED_FOR as error:
            self.problems.append(str(error))
            return None


def check_run(config: RunConfig) -> Check:
    """Look at model, rewards, data, tokenisation and placement; start no actor, fetch nothing."""
    check = Check([*describe_plan(config), *(("no use", line) for line in idle_settings(config))])
    model = _check_model(check, config)
    check.attempt(lambda: preflight.check_rewards(config))
    check.attempt(lambda: check_trackers(config.observe))
    stream = check.attempt(lambda: preflight.open_stream(config))
    if stream:
        check.plan.append(("questions", str(stream.num_questions)))
    questions = check.attempt(lambda: preflight.open_evaluation(config))
    if questions:
        version = find_version(questions)
        check.plan.append(("evaluation", f"{len(questions)} questions ({version})"))
    if model and stream:
        inputs = preflight.Inputs(stream, questions)
        check.attempt(lambda: preflight.check_room(config, model, inputs))
        if num_tokens := check.attempt(lambda: check_round_trip(config, model, stream[0])):
            check.plan.append(
                ("first prompt", f"{num_tokens} tokens, the same ids in learner and engine")
            )
    check.attempt(lambda: _check_store(config.run_dir))
    check.attempt(lambda: _check_cluster(check, config))
    return check


def _check_store(run_dir: Path | str) -> None:
    if isinstance(run_dir, str):
        open_store(run_dir)


def _check_model(check: Check, config: RunConfig) -> Path | None:
    if not is_here(config.model.path, config.model.revision):
        check.plan.append(("weights", "not here yet; the run fetches them from the hub"))
        return None
    return check.attempt(
        lambda: preflight.check_model(
            config.model, max_audio_s=config.data.max_audio_s, offline=True
        )
    )


def _check_cluster(check: Check, config: RunConfig) -> None:
    join_ray(config.placement.address)
    try:
        resources = ray.cluster_resources()
        there = f"{resources.get('CPU', 0):g} CPUs, {resources.get('GPU', 0):g} GPUs"
        check.plan.append(("cluster", there))
        check_placement(config.placement, roles(config))
    finally:
        ray.shutdown()


def check_round_trip(config: RunConfig, model: Path, prompt: Prompt) -> int:
    """Tokenise one prompt with its clip as the learner and as vLLM do; returns its length.

    Raises:
        EngineError: vLLM cannot process it.
        ConfigError: the two differ.
    """
    asked = {
        "model": str(model),
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
    return len(ids["engine"])
