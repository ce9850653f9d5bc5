"""What there is to say of a run at one moment, out of what its folder holds."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean, median
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from keomni_rl.config import EvaluateConfig, RunConfig
from keomni_rl.evaluation.shares import Share
from keomni_rl.evaluation.summary import Summary
from keomni_rl.observe.watch.folder import WatchedFolder
from keomni_rl.observe.watch.words import Event, Told, tell

State = Literal["waiting", "starting", "going on", "stale", "ended", "stopped", "failed"]
LIFE: Mapping[str, State] = {
    "start": "starting",
    "ready": "going on",
    "end": "ended",
    "stopped": "stopped",
    "failed": "failed",
}
"""Events that say how a run is -> how it is then."""
QUIET_S = 120.0
"""A run that has written nothing for so long is stale, at least..."""
QUIET_STEPS = 10
"""...and for so many of its steps..."""
QUIET_START_S = 900.0
"""...and while its engines start for so long."""
RECENT = 20
"""Steps that the time left is reckoned from."""
ROLES = {
    "time/wait_s": "waiting for groups",
    "time/learner_s": "learner",
    "time/publish_s": "publication",
    "time/rest_s": "checkpoint, evaluation",
}
"""What a step's time goes to, one after the other."""
CURVES = (
    ("reward", "reward/mean"),
    ("loss", "loss/token_nll_mean"),
    ("KL", "kl/ref_mean"),
    ("staleness", "staleness/mean"),
    ("tokens/s", "rollout/tokens_per_s"),
    ("mismatch", "kl/rollout_policy_mean"),
    ("length", "rollout/completion_tokens_mean"),
)
"""KL is to the reference, the mismatch between rollout and learner, length in tokens."""
PART = re.compile(r"reward/(?!mean$|std$)(.+)_mean")


class Curve(BaseModel):
    """One metric over the steps."""

    model_config = ConfigDict(frozen=True)

    name: str
    is_part: bool = False
    """Whether it is a part of the one above it."""
    values: tuple[float, ...]


class Evaluated(BaseModel):
    """An evaluation that has ended."""

    model_config = ConfigDict(frozen=True)

    policy: int | None
    """Steps behind the weights; None of a model that does not change."""
    accuracy: float | None
    interval95: tuple[float, float] | None
    format: float | None
    n: int
    by_task: dict[str, Share]


class Answered(BaseModel):
    """An evaluation under way."""

    model_config = ConfigDict(frozen=True)

    policy: int | None
    answered: int
    questions: int | None
    """None where it is not known."""


class Groups(BaseModel):
    """What became of a run's groups, over all its drivers."""

    model_config = ConfigDict(frozen=True)

    trained: int
    dropped: dict[str, int]
    """By reason; those of steps that were taken back as ``rolled back``."""
    unfinished: int | None
    """Alive when the driver stopped; None while it runs, or where it was killed."""


class Snapshot(BaseModel):
    """A run at one moment."""

    model_config = ConfigDict(frozen=True)

    name: str
    place: str
    kind: Literal["training", "evaluation"] | None
    """None before there is a configuration."""
    state: State
    cause: str | None
    """Why it stopped or failed."""
    time: float
    """Of this moment, in seconds since 1970."""
    quiet_s: float | None
    """For which nothing was written."""
    step: int
    max_steps: int | None
    step_s: float | None
    """Mean of the last `RECENT` steps."""
    left_s: float | None
    """Reckoned from them."""
    metrics: dict[str, float]
    """Of the last step."""
    role_s: dict[str, float]
    """Where the last step's seconds went."""
    evaluations: tuple[Evaluated, ...]
    """Oldest first."""
    answering: Answered | None
    groups: Groups | None
    """None in an evaluation."""
    events: tuple[Told, ...]
    """Oldest first."""
    notes: tuple[str, ...]
    """What a reader should know."""
    curves: tuple[Curve, ...] = Field(exclude=True)

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come, unless somebody resumes the run."""
        return self.state in ("ended", "stopped", "failed")


def take_snapshot(run: WatchedFolder, now: float) -> Snapshot:
    """What there is to say.

    Args:
        run: as it was last read.
        now: seconds since 1970.
    """
    is_evaluation = isinstance(run.config, EvaluateConfig)
    lines = [line for line in run.metrics if isinstance(line.get("step"), int)]
    last: Mapping[str, Any] = lines[-1] if lines else {}
    step = int(last.get("step", 0))
    max_steps = run.config.train.max_steps if isinstance(run.config, RunConfig) else None
    step_s = _recent(lines)
    written = run.written()
    quiet_s = None if written is None else max(0.0, now - written)
    life = _newest(run.events, LIFE)
    state = _state(life, quiet_s, [s for line in lines[-RECENT:] if (s := _step_s(line))])
    answering = None if _is_over(state) else _answering(run)
    left_s = None if max_steps is None or step_s is None else (max_steps - step) * step_s
    if is_evaluation and answering:
        left_s = _answers_left_s(run, answering, now)
    return Snapshot(
        name=run.name,
        place=str(run.place),
        kind=run.config and ("evaluation" if is_evaluation else "training"),
        state=state,
        cause=str(life["cause"]) if life and "cause" in life else None,
        time=now,
        quiet_s=quiet_s,
        step=step,
        max_steps=max_steps,
        step_s=step_s,
        left_s=None if _is_over(state) else left_s,
        metrics=_figures(last),
        role_s={role: float(last[name]) for name, role in ROLES.items() if _is_number(last, name)},
        evaluations=tuple(_evaluated(summary) for summary in run.summaries),
        answering=answering,
        groups=None if is_evaluation else _groups(run, len(lines), life),
        events=tuple(tell(run.events)),
        notes=tuple(run.notes),
        curves=tuple(_curves(lines)),
    )


def _is_over(state: State) -> bool:
    return state in ("ended", "stopped", "failed")


def _newest(events: Sequence[Event], names: Mapping[str, Any]) -> Event | None:
    return next((event for event in reversed(events) if event.get("event") in names), None)


def _state(life: Event | None, quiet_s: float | None, steps_s: Sequence[float]) -> State:
    if quiet_s is None:
        return "waiting"
    state = LIFE[life["event"]] if life else "going on"
    if _is_over(state):
        return state
    if state == "starting":
        return "stale" if quiet_s > QUIET_START_S else state
    patience_s = max(QUIET_S, QUIET_STEPS * median(steps_s) if steps_s else QUIET_S)
    return "stale" if quiet_s > patience_s else state


def _recent(lines: Sequence[Mapping[str, Any]]) -> float | None:
    seconds = [s for line in lines[-RECENT:] if (s := _step_s(line)) is not None]
    return fmean(seconds) if seconds else None


def _step_s(line: Mapping[str, Any]) -> float | None:
    if _is_number(line, "time/step_s"):
        return float(line["time/step_s"])
    parts = [float(line[name]) for name in ROLES if _is_number(line, name)]
    return sum(parts) if parts else None


def _is_number(line: Mapping[str, Any], name: str) -> bool:
    value = line.get(name)
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _figures(line: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(line[name]) for name in line if "/" in name and _is_number(line, name)}


def _curves(lines: Sequence[Mapping[str, Any]]) -> Iterator[Curve]:
    parts = {name: found[1] for line in lines[-1:] for name in line if (found := PART.match(name))}
    for word, metric in CURVES:
        if curve := _curve(lines, word, metric):
            yield curve
        if metric == "reward/mean":
            of_parts = (_curve(lines, part, name, is_part=True) for name, part in parts.items())
            yield from (curve for curve in of_parts if curve)


def _curve(
    lines: Sequence[Mapping[str, Any]], name: str, metric: str, *, is_part: bool = False
) -> Curve | None:
    values = tuple(float(line[metric]) for line in lines if _is_number(line, metric))
    return Curve(name=name, is_part=is_part, values=values) if values else None


def _evaluated(summary: Summary) -> Evaluated:
    return Evaluated(
        policy=summary.policy_version,
        accuracy=summary.accuracy,
        interval95=summary.interval95,
        format=summary.format,
        n=summary.n,
        by_task=summary.by_task,
    )


def _answering(run: WatchedFolder) -> Answered | None:
    """The evaluation under way, by the last event of one."""
    if isinstance(run.config, EvaluateConfig):
        began = _newest(run.events, {"start": None})
        questions = began.get("questions") if began else None
        return Answered(policy=None, answered=run.num_answered(), questions=questions)
    names = {"evaluation start": 0, "evaluation end": 0, "start": 0, "learner lost": 0}
    event = _newest(run.events, names)
    if event is None or event["event"] != "evaluation start":
        return None
    step = int(event.get("step", 0))
    known = next((summary.n for summary in run.summaries), None)
    return Answered(
        policy=step,
        answered=run.num_answered(f"step_{step:06d}"),
        questions=event.get("questions", known),
    )


def _answers_left_s(run: WatchedFolder, answering: Answered, now: float) -> float | None:
    ready = _newest(run.events, {"ready": None})
    start = _newest(run.events, {"start": None})
    if not ready or not start or answering.questions is None:
        return None
    done = answering.answered - int(start.get("answered", 0))
    seconds = now - float(ready.get("time", now))
    return (answering.questions - answering.answered) * seconds / done if done > 0 else None


def _groups(run: WatchedFolder, num_steps: int, life: Event | None) -> Groups:
    per_step = run.config.train.groups_per_step if isinstance(run.config, RunConfig) else 0
    dropped: Counter[str] = Counter()
    for event in run.events:
        if event.get("event") == "group dropped":
            dropped[str(event.get("reason"))] += 1
        if event.get("event") == "learner lost":
            num_steps_lost = int(event.get("step", 0)) - int(event.get("back_to", 0))
            dropped["rolled back"] += max(0, num_steps_lost) * per_step
    unfinished = life.get("unfinished") if life else None
    return Groups(trained=num_steps * per_step, dropped=dict(+dropped), unfinished=unfinished)
