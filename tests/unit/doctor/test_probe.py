"""Probes that crash, hang and raise are one line each, and leave nothing running."""

import asyncio
import os
import time
from pathlib import Path

import pytest

from keomni_rl.doctor.finding import Status
from keomni_rl.doctor.probe import Probe, run_probe

FIRST = "from keomni_rl.doctor.finding import ok\nimport os, signal, subprocess, sys, time\n"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs a probe that is written here; returns statuses, names and what was found."""
    package = tmp_path / "odd_probes"
    package.mkdir()
    (package / "__init__.py").touch()
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")

    def run(body: str, *, limit_s: float = 60, **asked):
        (package / "odd.py").write_text(FIRST + body)
        probe = Probe("odd", "engines", "odd", limit_s, "mend it", asked, package="odd_probes")
        return [(f.status, f.name, f.found, f.remedy) for f in asyncio.run(run_probe(probe))]

    return run


def test_what_is_found_comes_through_whatever_else_is_printed(run):
    body = (
        "def probe(number):\n"
        "    print('noise'); os.system('echo more')\n"
        "    yield ok('engines', 'first', f'{number} \\u00e9')\n"
    )
    assert run(body, number=3) == [(Status.OK, "first", "3 é", None)]


@pytest.mark.parametrize(
    ("end", "told"),
    [
        ("os.kill(os.getpid(), signal.SIGILL)", "crashed: Illegal instruction (SIGILL)"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "crashed: Segmentation fault (SIGSEGV)"),
        ("os._exit(3)", "ended with code 3"),
        ("import no_such_engine", "ModuleNotFoundError: No module named 'no_such_engine'"),
        (
            "raise OSError('libcudart.so.13: no such file')",
            "OSError: libcudart.so.13: no such file",
        ),
    ],
)
def test_a_crash_is_a_failure_after_what_was_found_before(run, end, told):
    found = run(f"def probe():\n    yield ok('engines', 'first', 'fine')\n    {end}\n")
    assert found == [
        (Status.OK, "first", "fine", None),
        (Status.FAILURE, "odd", told, "mend it"),
    ]


def test_a_hang_is_a_failure_and_ends_with_all_that_it_started(run, tmp_path, monkeypatch):
    monkeypatch.setattr("keomni_rl.doctor.probe.LEAVE_WITHIN_S", 0.2)
    child = tmp_path / "child"
    body = (
        "def probe():\n"
        "    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"    slept = subprocess.Popen(['sleep', '600'])\n"
        f"    open({str(child)!r}, 'w').write(str(slept.pid))\n"
        "    yield ok('engines', 'first', 'fine')\n"
        "    time.sleep(600)\n"
    )
    found = run(body, limit_s=5)
    assert found[-1] == (Status.FAILURE, "odd", "no answer within 5 s", "mend it")
    assert found[0][:2] == (Status.OK, "first")
    assert has_ended(int(child.read_text()))


def has_ended(pid: int) -> bool:
    """Whether a killed process is gone, once the kernel has had its time."""
    stat = Path(f"/proc/{pid}/stat")
    for _ in range(100):
        if not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.05)
    return False
