"""Trainings of the benchmarks' model: their configuration, and the steps of one that has run."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import soundfile

from benchmarks.workload import GROUP_SIZE, NUM_TOKENS, build_model, noise, question

GROUPS_PER_STEP = 8
COLD_STEPS = 2
"""At the beginning of a training, which are not counted."""


def write_questions(folder: Path, number: int, *, seconds: float, rate_hz: int = 16_000) -> Path:
    """Questions about clips of noise, each with a clip of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for index in range(number):
        clip = folder / f"{index}.wav"
        soundfile.write(clip, noise(seconds, index, rate_hz), rate_hz)
        rows.append(question(index, str(clip)))
    file = folder / "questions.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def words(
    root: Path, run_dir: Path, *more: str, seconds: float = 10.0, rate_hz: int = 16_000
) -> list[str]:
    """A training's file and settings as they follow ``keomni-rl train``; makes what they name."""
    model, questions = root / "model", root / f"clips-{seconds:g}s"
    if not model.exists():
        build_model(model)
    if not questions.exists():
        write_questions(questions, 200, seconds=seconds, rate_hz=rate_hz)
    return [
        str(Path(__file__).parents[2] / "configs" / "demo.yaml"),
        f"run_dir={run_dir}",
        f"model.path={model}",
        f"data.train=[{questions / 'questions.jsonl'}]",
        f"rollout.group_size={GROUP_SIZE}",
        f"rollout.max_new_tokens={NUM_TOKENS}",
        f"train.groups_per_step={GROUPS_PER_STEP}",
        "learner.lr=1e-6",
        "evaluation=null",
        "checkpoint.every_steps=100000",
        *(f"placement.{role}.threads=2" for role in ("rollout", "learner", "reference")),
        *more,
    ]


def train(
    words: list[str], watch: Callable[["subprocess.Popen[bytes]"], None] = lambda _: None
) -> None:
    """Run ``keomni-rl train`` to its end.

    Args:
        words: see `words`.
        watch: given the process while it runs.
    """
    log = Path(words[1].removeprefix("run_dir=")).with_suffix(".log")
    command = [sys.executable, "-m", "keomni_rl.cli", "train", *words]
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, env=dict(os.environ))
        watch(process)
    if process.wait():
        raise SystemExit(log.read_text()[-3000:])


def steps_of(run_dir: Path, *, cold: int = COLD_STEPS) -> list[dict[str, Any]]:
    """Metrics of the steps that count."""
    from keomni_rl.observe.sinks import read_lines

    return read_lines(run_dir / "metrics.jsonl")[cold:]
