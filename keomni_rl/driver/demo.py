"""The demo: sounds, a tiny model with some skill, GRPO, evaluation, report, on a laptop's CPU."""

import asyncio
import hashlib
import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import ray
from rich.console import Console

from keomni_rl.actors.remote import join_ray
from keomni_rl.config.schema import LearnerConfig, RolePlacement
from keomni_rl.data.audio import load_clip
from keomni_rl.data.prompts import make_prompt
from keomni_rl.data.questions import QuestionSet
from keomni_rl.data.synthetic import SyntheticFiles, generate
from keomni_rl.data.teacher import WeakTeacher
from keomni_rl.driver.warmup import supervise, written_group
from keomni_rl.types import Clip, Prompt, Question, RolloutGroup


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoSpec:
    """What the demo's data and model are made from; a change makes new ones."""

    seed: int = 0
    num_train: int = 2400
    num_heldout: int = 320
    warmup_steps: int = 240
    warmup_open: int = 24
    """Open questions in a warm-up step, answered truly: what the model knows of sounds."""
    warmup_groups: int = 10
    """Multiple-choice questions in a warm-up step, answered by the weak teacher."""
    warmup_answers: int = 4
    """The teacher's answers to each of these."""
    warmup_lr: float = 1e-3
    think_max_words: int = 50

    @property
    def digest(self) -> str:
        """Names the data and model that these settings make."""
        return hashlib.sha256(json.dumps(asdict(self)).encode()).hexdigest()[:12]


def prepare_demo(spec: DemoSpec, cache: Path, console: Console) -> tuple[SyntheticFiles, Path]:
    """Make or find the demo's sounds and its warmed-up model (thinker layout).

    Args:
        spec: settings.
        cache: folder that keeps both between runs.
        console: told of progress.
    """
    with console.status("making sounds"):
        files = generate(
            cache / f"sounds-{spec.digest}",
            num_train=spec.num_train,
            num_heldout=spec.num_heldout,
            seed=spec.seed,
        )
    model = cache / f"model-{spec.digest}"
    if not (model / "config.json").exists():
        _build_model(spec, files, model, console)
    console.print(f"sounds and tiny model in {cache}")
    return files, model


def _build_model(spec: DemoSpec, files: SyntheticFiles, model: Path, console: Console) -> None:
    os.environ.setdefault("DS_ACCELERATOR", "cpu")  # transformers loads DeepSpeed, which would ask
    from keomni_rl.engines.learner_files import read_stored
    from keomni_rl.models.layout import write_model
    from keomni_rl.models.tiny import build_tiny

    questions = QuestionSet([files.train])
    lesson = Lesson(spec, [questions[i] for i in range(len(questions))])
    aside = model.with_name(f".{model.name}.partial")
    shutil.rmtree(aside, ignore_errors=True)
    base, state = aside / "base", aside / "state"
    state.mkdir(parents=True)
    build_tiny(base, lesson.texts(), seed=spec.seed)
    lesson.open(base)
    join_ray(None)
    try:
        with console.status("warming the tiny model up") as status:
            asyncio.run(
                supervise(
                    base,
                    state,
                    lesson.next_batch,
                    learner=LearnerConfig(lr=spec.warmup_lr, warmup_steps=20, zero_stage=0),
                    placement=RolePlacement(gpus=0, cpus=0, threads=2),
                    num_steps=spec.warmup_steps,
                    on_step=lambda step, metrics: status.update(
                        f"warming the tiny model up: step {step}/{spec.warmup_steps}, "
                        f"loss {-metrics['loss/total']:.3f}"
                    ),
                )
            )
    finally:
        ray.shutdown()
    write_model(aside / "model", base, "thinker", read_stored(state, "policy"))
    (aside / "model").rename(model)
    shutil.rmtree(aside)


class Lesson:
    """The teacher's written groups, batch after batch."""

    def __init__(self, spec: DemoSpec, questions: list[Question]) -> None:
        self._spec = spec
        self._teacher = WeakTeacher(spec.seed)
        self._rng = np.random.default_rng([spec.seed, 9])
        self._prompts: list[Prompt] = [
            make_prompt(q, think=True, think_max_words=spec.think_max_words) for q in questions
        ]
        self._clips: dict[int, Clip] = {}

    def texts(self) -> list[str]:
        """Prompts and answers, for a tokenizer to learn from."""
        return [p.text for p in self._prompts] + [
            self._teacher.answer(p.question) for p in self._prompts
        ]

    def open(self, model: Path) -> None:
        """Take the processor of the model that is to learn."""
        from keomni_rl.models.family import find_family

        self._family = find_family(model)
        self._processor = self._family.load_processor(model)

    def next_batch(self) -> tuple[list[RolloutGroup], list[Clip]]:
        """Some questions with several answers each."""
        size = self._spec.warmup_groups + self._spec.warmup_open
        chosen = [int(i) for i in self._rng.choice(len(self._prompts), size, replace=False)]
        choice = [self._choice_group(i) for i in chosen[: self._spec.warmup_groups]]
        opened = [self._open_group(i) for i in chosen[self._spec.warmup_groups :]]
        return choice + opened, [self._clip(index) for index in chosen]

    def _choice_group(self, index: int) -> RolloutGroup:
        prompt = self._prompts[index]
        answers = [self._teacher.answer(prompt.question) for _ in range(self._spec.warmup_answers)]
        return self._written(index, prompt, answers)

    def _open_group(self, index: int) -> RolloutGroup:
        question = self._prompts[index].question
        assert question.answer is not None
        return self._written(
            index, Prompt(question=question, text=question.question), [question.answer]
        )

    def _written(self, index: int, prompt: Prompt, answers: list[str]) -> RolloutGroup:
        tokenizer = self._processor.tokenizer
        frames = self._clip(index).mel.shape[1]
        return written_group(
            index,
            prompt,
            self._family.prompt_ids(self._processor, prompt.text, frames),
            [(text, [*tokenizer(text)["input_ids"], tokenizer.eos_token_id]) for text in answers],
        )

    def _clip(self, index: int) -> Clip:
        if index not in self._clips:
            audio = self._prompts[index].question.audio
            self._clips[index] = load_clip(audio, max_audio_s=30)
        return self._clips[index]
