"""What one look at the machine found, and all of them together; the schema of ``--json``."""

from collections import Counter
from enum import StrEnum
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, model_validator


class Status(StrEnum):
    """How a finding bears on a run."""

    OK = "ok"
    WARNING = "warning"
    """A run can start, but slower, with less room, or otherwise than meant."""
    FAILURE = "failure"
    """Some run that is made for a machine like this cannot start."""


class Finding(BaseModel):
    """One line of the report."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    area: str
    """What the line stands under, such as ``versions``."""
    name: str
    """What was looked at, such as ``torch``; with the area the same from release to release."""
    status: Status
    found: str
    remedy: str | None = None
    """What to do; of every warning and failure."""

    @model_validator(mode="after")
    def _trouble_has_a_remedy(self) -> Self:
        if (self.status is Status.OK) == bool(self.remedy):
            raise ValueError(f"{self.name}: a warning or a failure has a remedy, and only those")
        return self


def ok(area: str, name: str, found: str) -> Finding:
    """All is as it should be."""
    return Finding(area=area, name=name, status=Status.OK, found=found)


def warning(area: str, name: str, found: str, remedy: str) -> Finding:
    """A run can start, but."""
    return Finding(area=area, name=name, status=Status.WARNING, found=found, remedy=remedy)


def failure(area: str, name: str, found: str, remedy: str) -> Finding:
    """A run cannot start."""
    return Finding(area=area, name=name, status=Status.FAILURE, found=found, remedy=remedy)


class Diagnosis(BaseModel):
    """The whole report."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    """Grows when a field changes its meaning or goes."""
    keomni_rl: str
    """Version."""
    time: float
    """Of the examination's begin, in seconds since 1970."""
    seconds: float
    """That it took."""
    status: Status
    """The worst of all findings."""
    findings: tuple[Finding, ...]

    @property
    def summary(self) -> str:
        """How many findings of each kind there are, in words."""
        counts = Counter(finding.status for finding in self.findings)
        warnings, failures = counts[Status.WARNING], counts[Status.FAILURE]
        return (
            f"{counts[Status.OK]} ok, {warnings} warning{'s' * (warnings != 1)}, "
            f"{failures} failure{'s' * (failures != 1)} in {self.seconds:.0f} s"
        )


def worst(findings: tuple[Finding, ...]) -> Status:
    """The status of a whole examination."""
    found = {finding.status for finding in findings}
    return next((s for s in (Status.FAILURE, Status.WARNING) if s in found), Status.OK)
