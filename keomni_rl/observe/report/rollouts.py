"""The groups that a run kept, as data for the page: a row of the list each, and their texts.

A row holds what the list shows, orders and filters by, so the page opens at once. Texts lie beside
the rows, compressed in packs, which the page's script opens when a group is opened or searched for.
"""

import base64
import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, TypeVar

from keomni_rl.algorithms.advantage import has_signal
from keomni_rl.data.prompts import split_completion
from keomni_rl.observe.report.questions import whole_if_more
from keomni_rl.observe.report.sounds import Embedding, Sounds, embed_sounds
from keomni_rl.observe.sinks import read_lines
from keomni_rl.types import FinishReason

T = TypeVar("T")
MAX_BYTES = 128 * 2**20
"""Of rollout files in one page, where they take about a sixth of that."""
GROUPS_PER_PACK = 50
OUTCOMES = {
    "wrong": "with a wrong answer",
    "mixed": "right and wrong",
    "all_right": "all right",
    "all_wrong": "all wrong",
    "equal": "with equal rewards",
    "no_format": "not all in the asked format",
    "cut": "with one cut off",
}
"""Key of what a group came to -> its words; one group can have several."""


@dataclass(frozen=True)
class Kept:
    """Groups that a run wrote for reading, by step."""

    groups: Sequence[dict[str, Any]]
    """As in the files, with their ``step``."""
    num_files: int
    """Steps that have any."""
    num_read: int
    """Of these, evenly over training; fewer only where all would be more than a page takes."""

    @property
    def notes(self) -> list[str]:
        """What a reader should know."""
        if self.num_read == self.num_files:
            return []
        return [
            f"Rollouts of {self.num_read:,} of {self.num_files:,} steps are in this page, taken "
            f"evenly over training: a page holds {MAX_BYTES // 2**20} MiB of their files."
        ]


def read_rollouts(run_dir: Path, max_bytes: int = MAX_BYTES) -> Kept:
    """Read the groups that a run kept, of as many steps as a page takes.

    Raises:
        DataError: a file cannot be read.
    """
    found = sorted((run_dir / "rollouts").glob("step_[0-9]*.jsonl"))
    files = [f for f in found if f.stem.removeprefix("step_").isdecimal()]
    size = sum(file.stat().st_size for file in files)
    most = len(files) if size <= max_bytes else max(2, len(files) * max_bytes // size)
    taken = spaced(files, most)
    groups = [
        {"step": int(file.stem.removeprefix("step_")), **group}
        for file in taken
        for group in read_lines(file)
    ]
    return Kept(groups, len(files), len(taken))


def embed_clips(groups: Sequence[Mapping[str, Any]], embedding: Embedding) -> Sounds:
    """Clips of groups with wrong answers first, and of each kind evenly over training."""
    kinds = {"all": (True, False), "wrong": (True,), "none": ()}[embedding.audio]
    are_wrong = ["wrong" in _outcomes(group["completions"]) for group in groups]
    wanted = (
        group["audio"]
        for kind in kinds
        for group in scattered([g for g, w in zip(groups, are_wrong, strict=True) if w is kind])
    )
    return embed_sounds(wanted, embedding.limit_mb)


def group_rows(
    groups: Sequence[Mapping[str, Any]], sounds: Sounds, audio: str
) -> Iterator[dict[str, Any]]:
    """What the list shows of each group; its texts are in pack ``number // GROUPS_PER_PACK``.

    Args:
        groups: as in the run's files, with their step.
        sounds: clips in the page.
        audio: which of them were asked for.
    """
    for group in groups:
        completions = group["completions"]
        rewards = [c["reward"] for c in completions]
        yield {
            "step": group["step"],
            "index": group["index"],
            "id": group["id"],
            "dataset": group["dataset"],
            "question": group["question"],
            "right": [_is_right(c) for c in completions],
            "mean": fmean(rewards),
            "spread": stdev(rewards) if len(rewards) > 1 else 0.0,
            "tokens": max(c["num_tokens"] for c in completions),
            "outcomes": _outcomes(completions),
            **sounds.shown(group["audio"], audio),
        }


def packed_texts(groups: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Texts and figures of the groups, `GROUPS_PER_PACK` each: base64 of gzip of a JSON list."""
    for start in range(0, len(groups), GROUPS_PER_PACK):
        pack = [_texts(group) for group in groups[start : start + GROUPS_PER_PACK]]
        packed = gzip.compress(json.dumps(pack, separators=(",", ":")).encode(), mtime=0)
        yield base64.b64encode(packed).decode()


def spaced(items: Sequence[T], most: int) -> list[T]:
    """At most so many items, evenly over the sequence, the first and the last among them."""
    if len(items) <= most:
        return list(items)
    return [items[round(i * (len(items) - 1) / (most - 1))] for i in range(most)]


def scattered(items: Sequence[T]) -> list[T]:
    """All items, in an order of which every beginning lies evenly over the sequence."""
    bits = max(1, (len(items) - 1).bit_length())
    order = sorted(range(len(items)), key=lambda place: f"{place:0{bits}b}"[::-1])
    return [items[place] for place in order]


def _texts(group: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "prompt": group["prompt"],
        "choices": group["choices"],
        "solution": group["solution"],
        "completions": [_completion(completion) for completion in group["completions"]],
    }


def _completion(completion: Mapping[str, Any]) -> dict[str, Any]:
    text = completion["text"]
    think, answer = split_completion(text)
    output = text if answer is None else answer
    return {
        "think": think,
        "answer": output,
        "raw": whole_if_more(text, think, answer, output),
        "right": _is_right(completion),
        "reward": completion["reward"],
        "breakdown": completion["breakdown"],
        "advantage": completion["advantage"],
        "tokens": completion["num_tokens"],
        "cut": _is_cut(completion),
        "versions": completion["policy_version"],
    }


def _outcomes(completions: Sequence[Mapping[str, Any]]) -> list[str]:
    right = {_is_right(c) for c in completions} - {None}
    flags = {
        "wrong": False in right,
        "mixed": len(right) == 2,
        "all_right": right == {True},
        "all_wrong": right == {False},
        "equal": not has_signal([c["reward"] for c in completions]),
        "no_format": any(c["breakdown"].get("format", 1) <= 0 for c in completions),
        "cut": any(map(_is_cut, completions)),
    }
    return [key for key, holds in flags.items() if holds]


def _is_right(completion: Mapping[str, Any]) -> bool | None:
    """By the reward named accuracy; None without one."""
    accuracy = completion["breakdown"].get("accuracy")
    return None if accuracy is None else accuracy > 0


def _is_cut(completion: Mapping[str, Any]) -> bool:
    return completion["finish_reason"] == FinishReason.LENGTH
