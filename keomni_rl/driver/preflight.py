"""Everything that can be known before a run starts, looked at while it is still cheap."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

from keomni_rl.config.schema import RunConfig
from keomni_rl.data.audio import check_header, read_samples
from keomni_rl.data.mmau import detect_version, read_mmau
from keomni_rl.data.prompts import make_prompt
from keomni_rl.data.questions import QuestionSet
from keomni_rl.data.stream import PromptStream
from keomni_rl.errors import DataError
from keomni_rl.models.family import family_module
from keomni_rl.models.layout import find_layout
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
    """Open model folder, data and rewards, and check them; nothing heavy is started.

    Raises:
        CheckpointError: the model folder is missing or of an unknown family.
        ConfigError: a reward is unknown.
        DataError: a question or a clip cannot be used.
    """
    family_module(config.model.path)
    reward_functions(
        list(config.reward.weights),
        think=config.data.think,
        think_max_words=config.data.think_max_words,
    )
    questions = QuestionSet(config.data.train)
    _check_audio((questions[i] for i in range(len(questions))), config)
    evaluation = None
    if config.evaluation:
        evaluation = read_mmau(config.evaluation.file)
        _check_audio(evaluation, config)
        if unanswered := [q.id for q in evaluation if q.answer is None]:
            raise DataError(
                f"{config.evaluation.file}: question {unanswered[0]!r} has no answer to score "
                "against; use test-mini for evaluation during training"
            )

    def render(question: Question) -> Prompt:
        return make_prompt(
            question, think=config.data.think, think_max_words=config.data.think_max_words
        )

    stream = PromptStream(questions, render, seed=config.train.seed, sample=config.data.sample)
    return Inputs(stream=stream, evaluation=evaluation)


def _check_audio(questions: Iterable[Question], config: RunConfig) -> None:
    for number, question in enumerate(islice(questions, NUM_HEADERS)):
        read = read_samples if number < NUM_DECODED else check_header
        try:
            read(question.audio, max_audio_s=config.data.max_audio_s)
        except DataError as error:
            raise DataError(f"question {question.id!r}: {error}") from error


def describe_plan(config: RunConfig, inputs: Inputs) -> list[tuple[str, str]]:
    """What a run would start, as pairs of name and description."""
    place = config.placement

    def role(name: str) -> str:
        of_role = getattr(place, name)
        what = f"{of_role.gpus} GPU" if of_role.gpus else f"CPU, {of_role.num_threads} threads"
        return f"{of_role.actors} x {what}"

    t, r = config.train, config.rollout
    rows = [
        ("model", f"{config.model.path} ({find_layout(config.model.path)}, {config.model.dtype})"),
        ("questions", f"{inputs.stream.epoch_length} from {_names(config.data.train)}"),
        ("rollout actors", f"{role('rollout')}, vLLM, {r.group_size} completions a prompt"),
        ("learner ranks", f"{role('learner')}, DeepSpeed ZeRO-{config.learner.zero_stage}"),
        (
            "reference",
            f"{role('reference')}, beta {config.algo.beta:g}"
            if config.algo.beta
            else "none, beta 0",
        ),
        ("reward", ", ".join(f"{w:g} x {n}" for n, w in config.reward.weights.items())),
        (
            "loop",
            f"{t.max_steps} steps of {t.groups_per_step} groups, at most {t.max_staleness} "
            f"versions stale, {config.slots} slots",
        ),
    ]
    if config.evaluation and inputs.evaluation is not None:
        version = detect_version(q.id for q in inputs.evaluation)
        rows.append(
            (
                "evaluators",
                f"{role('evaluator')}, {len(inputs.evaluation)} questions ({version}), "
                f"every {config.evaluation.every_steps} steps",
            )
        )
    rows.append(("run folder", str(config.run_dir)))
    return rows


def _names(paths: Sequence[object]) -> str:
    return ", ".join(str(path) for path in paths)
