"""Files that a run appends to: metrics, events and rollouts, one JSON object a line."""

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from keomni_rl.errors import DataError
from keomni_rl.types import RolloutGroup


class MetricsWriter:
    """``metrics.jsonl``, and TensorBoard when asked for."""

    def __init__(self, run_dir: Path, *, tensorboard: bool) -> None:
        self._path = run_dir / "metrics.jsonl"
        self._board = None
        if tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(run_dir / "tensorboard"))

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        """Append one step's metrics."""
        _append(self._path, [{"step": step, "time": time.time(), **metrics}])
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
    kept = [line for line in read_lines(path) if line["step"] <= step]
    aside = path.with_suffix(".tmp")
    aside.unlink(missing_ok=True)
    _append(aside, kept)
    aside.replace(path)


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
        DataError: a whole line is no JSON object.
    """
    if not path.exists():
        return []
    whole = path.read_bytes().split(b"\n")[:-1]  # every complete line ends with a newline
    return [
        _object(f"{path}, line {number}", line)
        for number, line in enumerate(whole, start=1)
        if line.strip()
    ]


def _object(where: str, line: bytes) -> dict[str, Any]:
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


def _append(path: Path, objects: Iterable[Mapping[str, Any]]) -> None:
    with path.open("a", encoding="utf-8") as file:
        for item in objects:
            file.write(json.dumps(item, ensure_ascii=False) + "\n")
