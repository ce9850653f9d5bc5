"""The demo: sounds, a tiny model with some skill, GRPO, evaluation, report, on a laptop's CPU."""

import hashlib
import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console

from keomni_rl.config import RunConfig
from keomni_rl.config.schema import PromptConfig
from keomni_rl.data.lessons import LessonFiles, texts_of, write_lessons
from keomni_rl.data.prompts import make_prompt
from keomni_rl.data.questions import QuestionFile
from keomni_rl.data.synthetic import SyntheticFiles, generate
from keomni_rl.driver.export import export_model
from keomni_rl.driver.train import train
from keomni_rl.observe.doing import doing
from keomni_rl.types import Question


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoSpec:
    """What the demo's data and model are made from; a change makes new ones."""

    edition: int = 2
    """Of the sounds and lessons themselves: goes up when what makes them changes."""
    family: str = "qwen2_5_omni"
    seed: int = 0
    num_train: int = 2400
    num_heldout: int = 320
    warmup_steps: int = 240
    warmup_open: int = 24
    """Open questions in a warm-up step, answered truly: what the model knows of sounds."""
    warmup_think: int = 8
    """Multiple-choice questions in a warm-up step, answered by the weak teacher with a think..."""
    warmup_no_think: int = 2
    """...and without one."""
    warmup_lr: float = 1e-3

    @property
    def digest(self) -> str:
        """Names the data and model that these settings make."""
        return hashlib.sha256(json.dumps(asdict(self)).encode()).hexdigest()[:12]


def prepare_demo(spec: DemoSpec, cache: Path, console: Console) -> tuple[SyntheticFiles, Path]:
    """Make or find the demo's sounds and its warmed-up model.

    Args:
        spec: settings.
        cache: folder that keeps both between runs.
        console: told of progress.
    """
    with doing("making sounds", console):
        files = generate(
            cache / f"sounds-{spec.edition}-{spec.num_train}-{spec.num_heldout}-{spec.seed}",
            num_train=spec.num_train,
            num_heldout=spec.num_heldout,
            seed=spec.seed,
        )
    model = cache / f"model-{spec.digest}"
    if not (model / "config.json").exists():
        _warm_up(spec, files, model, console)
    console.print(f"sounds and tiny model in {cache}")
    return files, model


def _warm_up(spec: DemoSpec, files: SyntheticFiles, model: Path, console: Console) -> None:
    """Build a random model and give it some skill by supervised training."""
    os.environ.setdefault("DS_ACCELERATOR", "cpu")  # transformers loads DeepSpeed, which would ask
    from keomni_rl.models.tiny import build_tiny

    loaded = QuestionFile(files.train)
    questions = [loaded[index] for index in range(len(loaded))]
    lessons = write_lessons(questions, files.train.parent, seed=spec.seed)
    aside = model.with_name(f".{model.name}.partial")
    shutil.rmtree(aside, ignore_errors=True)
    base = build_tiny(
        aside / "base", _texts(questions, lessons), seed=spec.seed, family=spec.family
    )
    console.print("warming the tiny model up")
    config = warmup_config(spec, base, lessons, aside / "run")
    train(config, resume=False, console=console)
    with doing("writing the model", console):
        export_model(aside / "run", aside / "model")
    (aside / "model").rename(model)
    shutil.rmtree(aside)


def _texts(questions: list[Question], lessons: LessonFiles) -> list[str]:
    prompts = [make_prompt(question, PromptConfig()) for question in questions]
    return [prompt.text for prompt in prompts] + list(texts_of(lessons))


def warmup_config(spec: DemoSpec, base: Path, lessons: LessonFiles, run_dir: Path) -> RunConfig:
    """The supervised training that makes a base model of a random one."""
    return RunConfig.model_validate(
        {
            "run_dir": run_dir,
            "model": {"path": base, "dtype": "float32"},
            "data": {
                "train": [
                    {"file": lessons.open, "weight": spec.warmup_open, "style": "direct"},
                    {"file": lessons.think, "weight": spec.warmup_think},
                    {
                        "file": lessons.no_think,
                        "weight": spec.warmup_no_think,
                        "style": "no_think",
                    },
                ]
            },
            "algo": {"kind": "supervised", "beta": 0, "importance_cap": None},
            "learner": {"lr": spec.warmup_lr, "warmup_steps": 20, "zero_stage": 0},
            "train": {
                "max_steps": spec.warmup_steps,
                "groups_per_step": spec.warmup_open + spec.warmup_think + spec.warmup_no_think,
                "seed": spec.seed,
            },
            "checkpoint": {"every_steps": spec.warmup_steps},
            "placement": {"learner": {"gpus": 0, "cpus": 0, "threads": 2}},
            "observe": {"tensorboard": False},
        }
    )
