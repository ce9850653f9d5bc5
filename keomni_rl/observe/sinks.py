"""Files that a run appends to: metrics, events and rollouts, one JSON object a line."""

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from keomni_rl.data.json_lines import bounded_lines
from keomni_rl.errors import DataError
from keomni_rl.observe.trackers.tracker import Tracker
from keomni_rl.types import RolloutGroup

MAX_LINE_BYTES = 2**26
"""Many times a group with all its completions."""
BEFORE = "evaluation_before/"
"""Area of the figures of policy version 0, which no step made: they are in the line of step 1."""


class MetricsWriter:
    """``metrics.jsonl``, one line a step, and TensorBoard and other trackers when asked for."""

    def __init__(
        self, run_dir: Path, *, tensorboard: bool, trackers: Sequence[Tracker] = ()
    ) -> None:
        self._path = run_dir / "metrics.jsonl"
        self._trackers = trackers
        self._board = None
        if tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(run_dir / "tensorboard"))

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        """Append one step's metrics."""
        _append(self._path, [{"step": step, "time": time.time(), **metrics}])
        self._show(step, metrics)

    def add_evaluations(self, figures: Mapping[int, Mapping[str, float]]) -> None:
        """Put what evaluations found into the lines of the steps that made their policies.

        An evaluation ends when its step's line is long written, so the file is written anew. The
        same figures may come again.

        Args:
            figures: by policy version, named ``evaluation/...``.
        """
        if not figures:
            return
        added = {max(1, version): dict[str, float]() for version in figures}
        for version, metrics in figures.items():
            self._show(version, metrics)
            added[max(1, version)] |= metrics if version else _before_training(metrics)
        lines = _read_metrics(self._path)
        replace_lines(self._path, [line | added.get(line["step"], {}) for line in lines])

    def _show(self, step: int, metrics: Mapping[str, float]) -> None:
        for tracker in self._trackers:
            tracker.show(step, metrics)
        if self._board is not None:
            for name, value in metrics.items():
                self._board.add_scalar(name, value, step)
            self._board.flush()

    def close(self) -> None:
        """Finish TensorBoard's file."""
        if self._board is not None:
            self._board.close()


def truncate_metrics(run_dir: Path, step: int) -> None:
    """Drop the lines of steps after ``step``, which a resumed run will write again."""
    path = run_dir / "metrics.jsonl"
    if not path.exists():
        return
    replace_lines(path, [line for line in _read_metrics(path) if line["step"] <= step])


def _read_metrics(path: Path) -> list[dict[str, Any]]:
    lines = read_lines(path)
    for line in lines:
        if not isinstance(line.get("step"), int):
            raise DataError(f"{path}: a line without its step, {line!r:.80}; mend or delete it")
    return lines


def write_event(run_dir: Path, event: str, **details: Any) -> None:
    """Append to ``events.jsonl`` what happened to the run, and when."""
    _append(run_dir / "events.jsonl", [{"time": time.time(), "event": event, **details}])


def write_rollouts(run_dir: Path, step: int, groups: Sequence[RolloutGroup]) -> None:
    """Write a step's groups for reading, ``rollouts/step_000012.jsonl``."""
    if not groups:
        return
    path = run_dir / "rollouts" / f"step_{step:06d}.jsonl"
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    _append(path, [_readable(group) for group in groups])


def write_batch(run_dir: Path, step: int, groups: Sequence[RolloutGroup]) -> Path:
    """Write everything that a step was to learn from, for study; returns the file."""
    path = run_dir / "failed_batches" / f"step_{step:06d}.jsonl"
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    _append(path, [_everything(group) for group in groups])
    return path


def _everything(rollout: RolloutGroup) -> dict[str, Any]:
    return {
        "id": rollout.group.prompt.id,
        "audio": rollout.group.prompt.question.audio,
        "prompt": rollout.group.prompt.text,
        "prompt_ids": rollout.group.prompt_ids.tolist(),
        "advantages": rollout.advantages.tolist(),
        "ref_logprobs": [a.tolist() for a in rollout.ref_logprobs or ()],
        "completions": [
            {
                "text": completion.text,
                "token_ids": completion.token_ids.tolist(),
                "rollout_logprobs": completion.rollout_logprobs.tolist(),
                "policy_version": completion.policy_version,
            }
            for completion in rollout.group.completions
        ],
        "rewards": [reward.total for reward in rollout.rewards],
    }


def _readable(rollout: RolloutGroup) -> dict[str, Any]:
    question = rollout.group.prompt.question
    scored = zip(
        rollout.group.completions, rollout.rewards, rollout.advantages.tolist(), strict=True
    )
    return {
        "id": question.id,
        "index": rollout.group.key.index,
        "dataset": question.dataset,
        "question": question.question,
        "choices": list(question.choices),
        "solution": question.answer,
        "audio": question.audio,
        "prompt": rollout.group.prompt.text,
        "completions": [
            {
                "text": completion.text,
                "reward": reward.total,
                "breakdown": reward.breakdown,
                "advantage": advantage,
                "finish_reason": completion.finish_reason,
                "num_tokens": len(completion.token_ids),
                "policy_version": completion.policy_version,
            }
            for completion, reward, advantage in scored
        ],
    }


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSONL file; a last line that a kill cut short is left out.

    Raises:
        DataError: a whole line is no JSON object, or one is longer than `MAX_LINE_BYTES`.
    """
    if not path.exists():
        return []
    return [
        parse_line(f"{path}, line {number}", line)
        for number, line, _ in bounded_lines(path, "an object a line", MAX_LINE_BYTES)
        if line.strip() and line.endswith(b"\n")
    ]


def parse_line(where: str, line: bytes) -> dict[str, Any]:
    """The object that a line of JSONL holds.

    Args:
        where: it stands, for the error.
        line: with or without its end.

    Raises:
        DataError: it is no JSON object.
    """
    try:
        found = json.loads(line.decode())
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{where}: not a JSON object ({error}); wanted one a line, so mend or delete this line"
        ) from error
    if not isinstance(found, dict):
        raise DataError(
            f"{where}: wanted a JSON object, got {found!r:.80}; mend or delete this line"
        )
    return found


def _before_training(metrics: Mapping[str, float]) -> dict[str, float]:
    return {name.replace("evaluation/", BEFORE, 1): value for name, value in metrics.items()}


def replace_lines(path: Path, objects: Iterable[Mapping[str, Any]]) -> None:
    """Write a JSONL file anew; until it is whole, the one before it stays."""
    aside = path.with_suffix(".tmp")
    aside.unlink(missing_ok=True)
    _append(aside, objects)
    aside.replace(path)


def _append(path: Path, objects: Iterable[Mapping[str, Any]]) -> None:
    """Half a surrogate pair, which a policy may sample and no file takes, becomes a ``?``."""
    with path.open("a", encoding="utf-8", errors="replace") as file:
        for item in objects:
            file.write(json.dumps(item, ensure_ascii=False) + "\n")
