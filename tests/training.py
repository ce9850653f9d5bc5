"""Fixtures of end-to-end tests: one set of sounds, a warmed-up tiny model, a way to train on them."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from rich.console import Console

from keomni_rl.driver.demo import DemoSpec, prepare_demo
from keomni_rl.evaluation.summary import Summary, read_summary

ROOT = Path(__file__).parents[1]
SPEC = DemoSpec(num_train=800, num_heldout=160)


@dataclass(frozen=True)
class Inputs:
    train: Path
    heldout: Path
    model: Path

    def command(self, run_dir: Path, *overrides: str) -> list[str]:
        return [
            *(sys.executable, "-m", "keomni_rl.cli", "train"),
            str(ROOT / "configs" / "demo.yaml"),
            f"run_dir={run_dir}",
            f"model.path={self.model}",
            f"data.train=[{self.train}]",
            f"evaluation.file={self.heldout}",
            "evaluation.every_steps=0",
            "train.seed=1",
            *overrides,
        ]

    def resume(self, run_dir: Path, *overrides: str) -> list[str]:
        return [*self.command(run_dir)[:3], "train", "--resume", str(run_dir), *overrides]

    def run(self, run_dir: Path, *overrides: str) -> "Finished":
        done = subprocess.run(
            self.command(run_dir, *overrides), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return self.finished(run_dir)

    def finished(self, run_dir: Path) -> "Finished":
        return Finished(run_dir)


@dataclass(frozen=True)
class Finished:
    """A run folder after the run."""

    path: Path

    @property
    def metrics(self) -> list[dict]:
        return [json.loads(line) for line in (self.path / "metrics.jsonl").read_text().splitlines()]

    @property
    def events(self) -> list[dict]:
        return [json.loads(line) for line in (self.path / "events.jsonl").read_text().splitlines()]

    def evaluation(self, version: int) -> Summary:
        return read_summary(self.path / "evaluation" / f"step_{version:06d}" / "summary.json")


@pytest.fixture(scope="session")
def cache(tmp_path_factory) -> Path:
    """Where sounds and models lie; one of one's own saves time between runs."""
    kept = os.environ.get("KEOMNI_RL_TEST_CACHE")
    return Path(kept) if kept else tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="session")
def inputs(cache) -> Inputs:
    return prepared(SPEC, cache)


@pytest.fixture(scope="session")
def inputs_qwen2_audio(cache) -> Inputs:
    return prepared(replace(SPEC, family="qwen2_audio"), cache)


def prepared(spec: DemoSpec, cache: Path) -> Inputs:
    files, model = prepare_demo(spec, cache, Console(quiet=True))
    return Inputs(files.train, files.heldout, model)
