"""Events of a run in plain words."""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

Tone = Literal["plain", "good", "warning", "bad"]
Event = Mapping[str, Any]
"""A line of ``events.jsonl``."""


class Told(BaseModel):
    """Something that happened, or the same thing several times in a row."""

    model_config = ConfigDict(frozen=True)

    time: float
    """Of the last of them, in seconds since 1970."""
    text: str
    tone: Tone = "plain"

    @property
    def clock(self) -> str:
        """When it was, here."""
        return time.strftime("%H:%M:%S", time.localtime(self.time))


def tell(events: Iterable[Event]) -> list[Told]:
    """All events in words, oldest first; groups dropped one after the other are one line."""
    told: list[Told] = []
    num_dropped, reason = 0, None
    for event in events:
        if event.get("event") != "group dropped":
            num_dropped = 0
            told.append(_one(event))
            continue
        if num_dropped and event.get("reason") == reason:
            told.pop()
        else:
            num_dropped, reason = 0, event.get("reason")
        num_dropped += 1
        groups = "a group was" if num_dropped == 1 else f"{num_dropped:,} groups were"
        told.append(Told(time=_time(event), text=f"{groups} dropped: {reason}"))
    return told


def _one(event: Event) -> Told:
    name = str(event.get("event"))
    if found := WORDS.get(name):
        words, tone = found
        return Told(time=_time(event), text=words(event), tone=tone)
    role, _, what = name.rpartition(" actor ")
    if role and what in OF_AN_ACTOR:
        verb, tone = OF_AN_ACTOR[what]
        return Told(time=_time(event), text=f"{role} actor {verb}{_version(event)}", tone=tone)
    details = ", ".join(f"{k} {v}" for k, v in event.items() if k not in ("event", "time"))
    return Told(time=_time(event), text=f"{name}: {details}" if details else name)


def _time(event: Event) -> float:
    found = event.get("time")
    return float(found) if isinstance(found, (int, float)) else 0.0


def _version(event: Event) -> str:
    if cause := event.get("cause"):
        return f": {_line(cause)}"
    version = event.get("version")
    return "" if version is None else f" with policy {version}"


def _line(cause: object) -> str:
    return " ".join(str(cause).split())


def _start(event: Event) -> str:
    if answered := event.get("answered"):
        return f"went on with {answered:,} questions answered"
    return f"resumed at step {step}" if (step := event.get("step")) else "started"


def _ready(event: Event) -> str:
    seconds = event.get("seconds")
    if not isinstance(seconds, Mapping) or not seconds:
        return "all actors are up"
    return f"all actors are up after {max(seconds.values()):.0f} s"


def _evaluated(event: Event) -> str:
    accuracy = event.get("accuracy")
    share = "" if accuracy is None else f": {100 * accuracy:.1f}% right"
    return f"policy {event.get('step')} evaluated{share} of {event.get('n')} questions"


WORDS: Mapping[str, tuple[Callable[[Event], str], Tone]] = {
    "start": (_start, "plain"),
    "ready": (_ready, "plain"),
    "waiting for room": (lambda e: _line(e.get("cause")), "warning"),
    "evaluation start": (lambda e: f"evaluation of policy {e.get('step')} began", "plain"),
    "evaluation end": (_evaluated, "good"),
    "evaluation not finished": (
        lambda e: f"policy {e.get('step')} was not evaluated: {_line(e.get('cause'))}",
        "warning",
    ),
    "checkpoint": (lambda e: f"checkpoint {e.get('path')}", "plain"),
    "checkpoint failed": (
        lambda e: f"no checkpoint of step {e.get('step')}: {_line(e.get('cause'))}",
        "bad",
    ),
    "learner lost": (
        lambda e: (
            f"learner lost at step {e.get('step')}, back to {e.get('back_to')}: "
            f"{_line(e.get('cause'))}"
        ),
        "bad",
    ),
    "learner replaced": (lambda e: f"learner started anew at step {e.get('step')}", "good"),
    "store away": (lambda e: f"the object store is away: {_line(e.get('cause'))}", "bad"),
    "store back": (lambda _: "the object store is back", "good"),
    "stopped": (lambda e: f"stopped: {_line(e.get('cause'))}", "warning"),
    "failed": (lambda e: f"failed: {_line(e.get('cause'))}", "bad"),
    "end": (lambda _: "ended", "good"),
}
OF_AN_ACTOR: Mapping[str, tuple[str, Tone]] = {
    "joined": ("joined", "good"),
    "lost": ("lost", "bad"),
    "replaced": ("replaced", "good"),
}
