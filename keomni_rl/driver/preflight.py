"""Everything that can be known before a run starts, looked at while it is still cheap."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from keomni_rl.config.schema import (
    LearnerConfig,
    LoraConfig,
    ModelConfig,
    RunConfig,
    Source,
)
from keomni_rl.data.audio import check_header, read_samples
from keomni_rl.data.evaluation_set import read_evaluation_set
from keomni_rl.data.prompts import make_lesson, make_prompt
from keomni_rl.data.stream import PromptStream
from keomni_rl.driver.checkpoints import Adapters, stored_adapters
from keomni_rl.driver.prompt_room import PromptRoom
from keomni_rl.errors import ConfigError, DataError
from keomni_rl.models.family import find_family
from keomni_rl.models.hub import local_model
from keomni_rl.observe.trackers import check_trackers
from keomni_rl.rewards.score import reward_functions
from keomni_rl.types import Prompt, Question

NUM_HEADERS = 10_000
"""Clips of each set whose header is read."""
NUM_DECODED = 32
"""Clips of each set that are decoded."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a run reads, opened and checked."""

    stream: PromptStream
    evaluation: list[Question] | None


def open_inputs(config: RunConfig) -> Inputs:
    """Open model folder, rewards and data, and check them; nothing heavy is started.

    Raises:
        CheckpointError: the model folder is missing or of an unknown family.
        ConfigError: a reward is unknown, clips may be longer than the model hears, or a prompt is
            longer than an engine holds, or a tracker is not installed.
        DataError: a question or a clip cannot be used.
    """
    model = check_model(config.model, max_audio_s=config.data.max_audio_s)
    check_rewards(config)
    check_trackers(config.observe)
    inputs = Inputs(stream=open_stream(config), evaluation=open_evaluation(config))
    check_room(config, model, inputs)
    return inputs


def check_model(model: ModelConfig, *, max_audio_s: float | None, offline: bool = False) -> Path:
    """Find the model, fetched from the hub if it is a name there, and its family.

    Args:
        model: what is looked for.
        max_audio_s: the longest clip allowed; None allows what the model hears.
        offline: see `local_model`.

    Raises:
        CheckpointError: there is no such model, or it is of no known family.
        ConfigError: the model hears less than the longest clip allowed.
    """
    folder = local_model(model.path, model.revision, offline=offline)
    family = find_family(folder)
    if max_audio_s is not None and max_audio_s > family.longest_clip_s:
        raise ConfigError(
            f"max_audio_s: {max_audio_s:g}, but {family.name} hears {family.longest_clip_s:g} s at "
            "most; lower it, and cut or leave out longer clips"
        )
    return folder


def check_rewards(config: RunConfig) -> None:
    """Find every reward function; supervised training has none.

    Raises:
        ConfigError: one is unknown, or needs what is not installed.
    """
    if config.algo.kind == "supervised":
        return
    reward_functions(
        list(config.reward.weights),
        think=config.prompt.thinks,
        think_max_words=config.prompt.think_max_words,
        compat=config.reward.compat,
        math_verify=config.reward.math_verify,
    )


def open_stream(config: RunConfig) -> PromptStream:
    """Open the training questions and look at their clips.

    Raises:
        DataError: a question or a clip cannot be used.
        ConfigError: the mixture cannot be dealt.
    """
    is_supervised = config.algo.kind == "supervised"
    stream = PromptStream(
        config.data.train,
        _renderer(config),
        seed=config.train.seed,
        allow_open=is_supervised,
    )
    prompts = map(stream.rendered, range(stream.num_questions))  # a text may be refused too
    _check_audio((prompt.question for prompt in prompts), config)
    return stream


def open_evaluation(config: RunConfig) -> list[Question] | None:
    """Read the evaluation's questions and look at their clips; None without an evaluation.

    Raises:
        DataError: a question cannot be scored, or a clip cannot be used.
    """
    if not config.evaluation:
        return None
    questions = read_evaluation_set(config.evaluation.file)
    _check_audio(questions, config)
    if unanswered := [q.id for q in questions if q.answer is None]:
        raise DataError(
            f"{config.evaluation.file}: question {unanswered[0]!r} has no answer to score "
            "against; use test-mini for evaluation during training"
        )
    return questions


def check_room(config: RunConfig, model: Path, inputs: Inputs) -> None:
    """See that every prompt leaves room for its completion in the engine that it goes to.

    Raises:
        ConfigError: one does not.
    """
    samples = config.algo.kind == "grpo"
    if not (samples or config.evaluation):
        return
    room = PromptRoom(
        model,
        max_audio_s=config.data.max_audio_s,
        max_model_len=config.engine.max_model_len,
    )
    if samples:
        room.check(
            inputs.stream.texts(),
            inputs.stream.rendered,
            max_new_tokens=config.rollout.max_new_tokens,
            setting="rollout.max_new_tokens",
        )
    if config.evaluation:
        questions = inputs.evaluation or []
        prompts = [make_prompt(q, config.prompt, is_evaluation=True) for q in questions]
        room.check(
            enumerate(prompt.text for prompt in prompts),
            prompts.__getitem__,
            max_new_tokens=config.evaluation.max_new_tokens,
            setting="evaluation.max_new_tokens",
        )


def check_adapters(checkpoint: Path, config: LearnerConfig) -> None:
    """Compare a checkpoint's adapters with those that are asked for.

    Raises:
        ConfigError: they differ in rank or alpha, or only one of the two has any.
    """
    stored = stored_adapters(checkpoint)
    lora = config.lora or LoraConfig()
    asked = Adapters(lora.rank, lora.alpha / lora.rank) if config.trained == "lora" else None
    if stored != asked:
        raise ConfigError(
            f"learner: {_adapters(asked)}, but {checkpoint} holds {_adapters(stored)}; resume with "
            "the learner.trained and learner.lora that the run began with"
        )


def _adapters(found: Adapters | None) -> str:
    if found is None:
        return "no adapters"
    return f"adapters of rank {found.rank} and alpha {found.rank * found.scale:g}"


def _renderer(config: RunConfig) -> Callable[[Question, Source], Prompt]:
    render = make_lesson if config.algo.kind == "supervised" else make_prompt

    def rendered(question: Question, source: Source) -> Prompt:
        style = source.style or config.prompt.style
        return render(question, config.prompt.model_copy(update={"style": style}))

    return rendered


def _check_audio(questions: Iterable[Question], config: RunConfig) -> None:
    for number, question in enumerate(islice(questions, NUM_HEADERS)):
        read = read_samples if number < NUM_DECODED else check_header
        try:
            read(question.audio, max_audio_s=config.data.max_audio_s)
        except DataError as error:
            raise DataError(f"question {question.id!r}: {error}") from error
