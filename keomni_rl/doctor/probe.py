"""Runs probes, each a process of its own with a time limit; its crash or hang is a finding too."""

import asyncio
import contextlib
import json
import os
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO

from pydantic import JsonValue, ValidationError

from keomni_rl.doctor.finding import Finding, failure

MAX_TOLD = 300
"""Characters of a message that a probe ended with."""
TAIL_BYTES = 2**16
LEAVE_WITHIN_S = 5.0
"""What a probe is given to end what it has started, once its time is over."""


@dataclass(frozen=True)
class Probe:
    """A module of a package of probes, and what is said if it does not come to its end."""

    module: str
    area: str
    name: str
    limit_s: float
    remedy: str
    asked: Mapping[str, JsonValue] = field(default_factory=dict)
    """Arguments of its ``probe``."""
    package: str = "keomni_rl.doctor.probes"

    @property
    def command(self) -> Sequence[str]:
        """What is run; ``-P``, so that a folder called vllm where doctor is called is not it."""
        runner, module = "keomni_rl.doctor.probes", f"{self.package}.{self.module}"
        return [sys.executable, "-P", "-m", runner, module, json.dumps(self.asked)]


async def run_probe(probe: Probe) -> list[Finding]:
    """What a probe finds, and a failure if it crashes, raises or does not end in time."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = await asyncio.create_subprocess_exec(
            *probe.command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
        end = None
        try:
            code = await asyncio.wait_for(process.wait(), probe.limit_s)
            end = _told_end(code, _tail(err))
        except TimeoutError:
            end = f"no answer within {probe.limit_s:g} s"
        finally:
            await _end(process)
        findings = _findings(out)
    if end:
        findings.append(failure(probe.area, probe.name, end, probe.remedy))
    return findings


async def _end(process: asyncio.subprocess.Process) -> None:
    """End a probe and all that it has started."""
    if process.returncode is None:
        process.terminate()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), LEAVE_WITHIN_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


def _findings(out: IO[bytes]) -> list[Finding]:
    """All that were written whole."""
    out.seek(0)
    found = []
    for line in out.read().splitlines():
        with contextlib.suppress(ValidationError):
            found.append(Finding.model_validate_json(line))
    return found


def _tail(file: IO[bytes]) -> str:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - TAIL_BYTES))
    return file.read().decode(errors="replace")


def _told_end(code: int, printed: str) -> str | None:
    """Why a process ended, from its exit code and what it printed last; None if all was well."""
    if code == 0:
        return None
    if code < 0:
        return f"crashed: {signal.strsignal(-code)} ({signal.Signals(-code).name})"
    lines = [line.strip() for line in printed.splitlines() if line.strip()]
    return f"{lines[-1]:.{MAX_TOLD}}" if lines else f"ended with code {code}"
