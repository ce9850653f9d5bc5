"""How fast each role works, as ``scripts/bench.py rates`` measures it and keeps it in a file.

Every rate is a straight line, seconds = fixed_s + amount / per_s, through measurements of several
amounts. Attention's growth with the square of a row is not in it: measure near the lengths that
are planned for.
"""

import json
import os
import platform
from pathlib import Path
from typing import Annotated, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from keomni_rl.data.json_lines import NOT_JSON, decode_json, read_whole
from keomni_rl.errors import DataError

NotNegative = Annotated[FiniteFloat, Field(ge=0)]
Positive = Annotated[FiniteFloat, Field(gt=0)]
UNLIKE = 1.5
"""Amounts that a line is drawn through differ by this factor at least."""
TINY = 1e-9
"""Least share that either part of a line has of the seconds."""
STRAYS = 0.1
"""Relative error from which on a measurement counts as a stray one."""
NORMAL = 1.4826
"""Standard deviation of a normal distribution over its median deviation."""
WANTED = "a file of rates, as `scripts/bench.py rates` writes it"


class Record(BaseModel):
    """A frozen part of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Rate(Record):
    """A line through measured seconds, and how far they stray from it."""

    fixed_s: NotNegative
    per_s: Positive
    """Amount a second, beyond what is fixed."""
    spread: NotNegative = 0.0
    """Standard deviation of measured over predicted seconds, strays left out."""

    def seconds(self, amount: float) -> float:
        """What some amount of work takes, on average."""
        return self.fixed_s + amount / self.per_s

    @classmethod
    def through(cls, amounts: list[float], seconds: list[float]) -> Self:
        """The line whose relative errors are smallest; single measurements that stray weigh little.

        Args:
            amounts: of work, above 0.
            seconds: that each took, above 0.
        """
        from scipy.optimize import least_squares

        x, y = np.asarray(amounts, float), np.asarray(seconds, float)
        # Like amounts tell nothing of what is fixed: then all is taken to grow with the amount.
        tells_fixed = x.max() > UNLIKE * x.min()

        def errors(line: np.ndarray) -> np.ndarray:
            return np.log(line[0] * tells_fixed * y.min() + line[1] * x * slope) - np.log(y)

        slope = float(np.median(y / x))
        fit = least_squares(
            errors, [0.5, 0.5], bounds=(TINY, np.inf), loss="soft_l1", f_scale=STRAYS
        )
        return cls(
            fixed_s=fit.x[0] * y.min() if tells_fixed else 0.0,
            per_s=1 / (fit.x[1] * slope),
            spread=float(NORMAL * np.median(np.abs(errors(fit.x)))),
        )


class Machine(Record):
    """Where rates were taken."""

    cpu: str
    cores: Annotated[int, Field(gt=0)]
    gpu: str | None = None

    @classmethod
    def here(cls) -> Self:
        """This one."""
        import torch

        return cls(
            cpu=_cpu_name(),
            cores=os.cpu_count() or 1,
            gpu=torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        )


def _cpu_name() -> str:
    """As Linux names it; elsewhere the architecture."""
    described = Path("/proc/cpuinfo")
    lines = described.read_text().splitlines() if described.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


class Rates(Record):
    """All that a plan wants to know of speed."""

    model: str
    """Sizes of the model, as `keomni_rl.planning.shape.ModelShape.digest` names them."""
    dtype: str
    machine: Machine
    units: dict[str, Annotated[int, Field(ge=0)]]
    """Role -> GPUs, or threads without one, that one actor of it had."""
    prefill: Rate
    """A group's prompt in a rollout engine: tokens."""
    decode: Rate
    """One engine step: completions that each get a token."""
    reference: Rate
    """A group's packed row: tokens."""
    learner: Rate
    """An optimizer step on one rank: tokens of packed rows."""
    transfer: Rate
    """A publication, engines' own work included: bytes."""
    audio: Rate
    """Clips decoded by the one audio actor: clips."""
    reward: Rate
    """Groups scored by the one reward actor: groups."""
    prompt_tokens: Positive | None = None
    """Measured mean."""
    completion_tokens: Positive | None = None
    """Measured mean."""
    completion_std: NotNegative = 0.0
    """Standard deviation of the completions' tokens."""


def read_rates(path: Path) -> Rates:
    """Read a file of rates.

    Raises:
        DataError: it cannot be read or is of another form.
    """
    try:
        return Rates.model_validate(decode_json(read_whole(path, WANTED)))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "the file"
        raise DataError(f"{path}: {key}: {first['msg']}; wanted {WANTED}") from error
    except NOT_JSON as error:
        raise DataError(f"{path}: not JSON ({error}); wanted {WANTED}") from error


def write_rates(path: Path, rates: Rates) -> None:
    """Write a file that `read_rates` reads."""
    path.write_text(json.dumps(rates.model_dump(), indent=2) + "\n")
