"""Everything that can be known before a run starts, looked at while it is still cheap."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from keomni_rl.config.schema import ModelConfig, RunConfig, Source
from keomni_rl.data.audio import check_header, read_samples
from keomni_rl.data.evaluation_set import read_evaluation_set
from keomni_rl.data.prompts import make_lesson, make_prompt
from keomni_rl.data.stream import PromptStream
from keomni_rl.errors import ConfigError, DataError
from keomni_rl.models.family import find_family
from keomni_rl.models.hub import local_model
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
        ConfigError: a reward is unknown, or clips may be longer than the model hears.
        DataError: a question or a clip cannot be used.
    """
    check_model(config.model, max_audio_s=config.data.max_audio_s)
    check_rewards(config)
    return Inputs(stream=open_stream(config), evaluation=open_evaluation(config))


def settle_model(model: ModelConfig) -> ModelConfig:
    """The same model wherever and whenever it is looked up: an absolute folder, a pinned commit.

    Raises:
        CheckpointError: there is no such model.
    """
    folder = local_model(model.path, model.revision)
    if model.path.is_dir():
        return model.model_copy(update={"path": model.path.absolute()})
    return model.model_copy(update={"revision": folder.name})  # snapshots are named by commit


def settle(config: RunConfig) -> RunConfig:
    """The configuration with every path absolute and the model pinned.

    Actors may start in other folders and on other nodes, and a run may be resumed from elsewhere.
    """
    sources = tuple(
        source.model_copy(update={"file": source.file.absolute()}) for source in config.data.train
    )
    evaluation = config.evaluation
    if evaluation:
        evaluation = evaluation.model_copy(update={"file": evaluation.file.absolute()})
    return config.model_copy(
        update={
            "run_dir": config.run_dir.absolute(),
            "model": settle_model(config.model),
            "data": config.data.model_copy(update={"train": sources}),
            "evaluation": evaluation,
        }
    )


def check_model(model: ModelConfig, *, max_audio_s: float | None) -> Path:
    """Find the model, fetched from the hub if it is a name there, and its family.

    Raises:
        CheckpointError: there is no such model, or it is of no known family.
        ConfigError: the model hears less than the longest clip allowed.
    """
    folder = local_model(model.path, model.revision)
    family = find_family(folder)
    if max_audio_s is not None and max_audio_s > family.longest_clip_s:
        raise ConfigError(
            f"max_audio_s: {max_audio_s:g}, but {family.name} hears {family.longest_clip_s:g} s at "
            "most; lower it, and cut or leave out longer clips"
        )
    return folder


def check_rewards(config: RunConfig) -> None:
    """Find every reward function.

    Raises:
        ConfigError: one is unknown, or needs what is not installed.
    """
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
