"""Start to finish of one evaluation: folder, checks, a pool of evaluators, answers, summary."""

import asyncio
import time
from collections.abc import Iterable
from typing import Any

import ray
from rich.console import Console

from keomni_rl.actors.audio import start_audio
from keomni_rl.actors.endpoint import EndpointActor, read_key
from keomni_rl.actors.engine_actor import EvaluatorActor
from keomni_rl.actors.placement import Room, check_placement
from keomni_rl.actors.pool import ActorPool
from keomni_rl.actors.remote import join_ray
from keomni_rl.config import EvaluateConfig, load_config, to_yaml
from keomni_rl.config.placement import RolePlacement
from keomni_rl.data.audio import LONGEST_WINDOW_S
from keomni_rl.data.evaluation_set import read_evaluation_set
from keomni_rl.driver.answering import SLOW_S, Answering, read_answers
from keomni_rl.driver.job import refuse_passing_folder
from keomni_rl.driver.monitor import monitored, of_evaluators
from keomni_rl.driver.preflight import check_model
from keomni_rl.driver.run_dir import held
from keomni_rl.driver.settle import settle, tell_idle
from keomni_rl.driver.start_failure import refusal_told
from keomni_rl.engines.specs import engine_spec
from keomni_rl.errors import ConfigError
from keomni_rl.evaluation.judge import named
from keomni_rl.evaluation.summary import Summary
from keomni_rl.models.family import find_family
from keomni_rl.models.hub import local_model
from keomni_rl.observe.doing import doing
from keomni_rl.observe.progress import Progress
from keomni_rl.observe.sinks import write_event
from keomni_rl.types import Prediction, Question

FREE: dict[str, Any] = {
    "run_dir": True,
    "placement": True,
    "faults": True,
    "engine": True,
    "evaluation": {"max_in_flight"},
    "endpoint": {"requests_per_minute", "timeout_s", "max_attempts", "api_key_env"},
}
"""Settings that a resumption may change, for they say how fast the answers come, not which."""


def evaluate(config: EvaluateConfig, *, resume: bool, console: Console) -> Summary:
    """Answer and judge every question, from the beginning or from what the folder holds.

    Raises:
        ConfigError, DataError, CheckpointError: the evaluation cannot start as asked.
    """
    config = settle(config)
    refuse_passing_folder(config.run_dir)
    with held(config.run_dir, command="evaluate", resume=resume):
        if resume:
            _refuse_other_settings(config)
        questions = read_evaluation_set(config.evaluation.file)
        answered = read_answers(config.folder)
        refuse_other_answers(config, questions, answered)
        if config.model:
            check_model(config.model, max_audio_s=config.max_audio_s)
        join_ray(config.placement.address)
        try:
            if config.model:
                check_placement(config.placement, ["evaluator"])
            (config.folder / "config.yaml").write_text(to_yaml(config))
            return asyncio.run(_evaluate(config, questions, answered, console))
        finally:
            ray.shutdown()


async def _evaluate(
    config: EvaluateConfig,
    questions: list[Question],
    answered: dict[str, Prediction],
    console: Console,
) -> Summary:
    num_kept = len(answered)
    write_event(config.folder, "start", answered=num_kept, questions=len(questions))
    tell_idle(config, console)
    with doing("starting evaluators", console), refusal_told():
        pool = await start_pool(config)
    write_event(config.folder, "ready")
    started = time.monotonic()
    with Progress("questions", len(questions), done=num_kept, console=console) as progress:
        answering = Answering(
            pool=pool,
            audio=start_audio(
                config.placement.audio,
                max_audio_s=config.max_audio_s or _heard_s(config),
                window_s=_heard_s(config),
            ),
            config=config.evaluation,
            prompt=config.prompt,
            questions=questions,
            folder=config.folder,
            run_id=f"{config.folder.name}-{time.time_ns():x}",
            num_evaluators=config.placement.evaluator.actors,
            answered=answered,
            on_answer=progress.update,
        )
        async with monitored(config.folder.name, lambda: of_evaluators(pool, answering)):
            summary = await answering.run()
    seconds = time.monotonic() - started
    write_event(
        config.folder,
        "end",
        seconds=seconds,
        asked=len(questions) - num_kept,
        restarts=pool.num_restarts,
        asked_twice=pool.num_doubled,
    )
    await pool.close()
    return summary


async def start_pool(config: EvaluateConfig) -> ActorPool[Prediction]:
    """Start all evaluators and wait until they are ready.

    Raises:
        ConfigError: the cluster can never hold them.
    """
    placement = config.placement
    place = placement.evaluator
    if config.endpoint:
        on_cpu = RolePlacement(actors=place.actors, gpus=0, cpus=0, nodes=place.nodes)
        placement = placement.model_copy(update={"evaluator": on_cpu})
    room = Room(placement, ["evaluator"])
    await room.reserve(config.folder)
    if config.endpoint:
        key = read_key(config.endpoint)
        start = room.starter("evaluator", EndpointActor, config.endpoint, key)
    else:
        assert config.model is not None
        spec = engine_spec(config.model, config.engine, place, awaits_weights=False)
        start = room.starter("evaluator", EvaluatorActor, spec, config.folder.name)
    pool = ActorPool[Prediction](
        start,
        place.actors,
        on_loss=lambda cause: write_event(config.folder, "evaluator actor lost", cause=cause),
        on_replaced=lambda: write_event(config.folder, "evaluator actor replaced"),
        hang_s=max(config.faults.hang_s, _longest_request_s(config)),
        slow_s=SLOW_S,
    )
    await pool.wait_ready()
    return pool


def _longest_request_s(config: EvaluateConfig) -> float:
    """For which a served model may keep silent, refusals and their pauses included."""
    endpoint = config.endpoint
    return 2 * endpoint.timeout_s * endpoint.max_attempts if endpoint else 0.0


def _heard_s(config: EvaluateConfig) -> float:
    """How much of a clip the model hears; of a served one that is not known."""
    if config.model is None:
        return LONGEST_WINDOW_S
    return find_family(local_model(config.model.path, config.model.revision)).longest_clip_s


def _refuse_other_settings(config: EvaluateConfig) -> None:
    """Answers under different settings are answers of different evaluations."""
    before = load_config(EvaluateConfig, [str(config.folder / "config.yaml")])
    old, new = before.model_dump(exclude=FREE), config.model_dump(exclude=FREE)
    if changed := [key for key in old if old[key] != new[key]]:
        raise ConfigError(
            f"{config.run_dir}: its answers were given with other settings in {changed[0]!r} "
            f"({old[changed[0]]} before, {new[changed[0]]} now); give another run_dir"
        )


def refuse_other_answers(
    config: EvaluateConfig, questions: Iterable[Question], answered: Iterable[str]
) -> None:
    """See that all answers of the folder are to these questions.

    Raises:
        ConfigError: some are not: the file of questions has changed.
    """
    asked = {question.id for question in questions}
    if others := [name for name in answered if name not in asked]:
        raise ConfigError(
            f"{config.run_dir}: {len(others)} of its answers are to questions that "
            f"{config.evaluation.file} does not hold (any more): {named(others)}; give another "
            "run_dir"
        )
