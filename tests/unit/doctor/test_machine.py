"""What is made of a processor, of limits and of a path without compilers."""

import resource
from pathlib import Path

import pytest

from keomni_rl.doctor.finding import Status
from keomni_rl.doctor.machine import (
    GIB,
    _cores,
    _memory,
    check_compilers,
    check_cores,
    check_machine,
    check_memory,
    check_open_files,
    check_processes,
    check_processor,
)

XEON = "model name\t: Intel Xeon\nflags\t\t: fpu avx2 avx512f avx512_bf16\n"
HASWELL = "model name\t: Intel Haswell\nflags\t\t: fpu sse4_2 avx2\n"
OLD = "model name\t: Intel Westmere\nflags\t\t: fpu sse4_2\n"


@pytest.mark.parametrize(
    ("cpuinfo", "needs_vectors", "status"),
    [
        (XEON, True, Status.OK),
        (HASWELL, True, Status.WARNING),
        (OLD, True, Status.FAILURE),
        (OLD, False, Status.OK),
    ],
)
def test_vllm_for_cpus_needs_avx2(cpuinfo, needs_vectors, status):
    found = check_processor(cpuinfo, "x86_64", needs_vectors=needs_vectors)
    assert found.status is status
    assert found.found.startswith("Intel ")


def test_another_architecture_has_other_kernels():
    found = check_processor("CPU implementer\t: 0x41\n", "aarch64", needs_vectors=True)
    assert (found.status, found.found) == (Status.OK, "aarch64 (aarch64)")


def test_a_container_has_what_its_group_may_use(tmp_path):
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    (tmp_path / "memory.max").write_text(f"{2 * GIB}\n")
    (tmp_path / "memory.current").write_text(f"{GIB}\n")
    assert check_cores(_cores(tmp_path)).status is Status.WARNING
    total, available = _memory(tmp_path)
    assert (total, available) == (2 * GIB, GIB)
    assert check_memory(total, available).status is Status.WARNING


@pytest.mark.parametrize(
    ("limit", "status"),
    [
        (1024, Status.FAILURE),
        (4096, Status.WARNING),
        (65_536, Status.OK),
        (resource.RLIM_INFINITY, Status.OK),
    ],
)
def test_open_files(limit, status):
    assert check_open_files(limit).status is status


def test_processes():
    assert check_processes(resource.RLIM_INFINITY).status is Status.OK
    assert check_processes(1000).status is Status.WARNING


def test_a_compiler_that_is_not_there_is_a_failure_where_one_is_needed(tmp_path, monkeypatch):
    environ = {"PATH": str(tmp_path), "CXX": "no-such-compiler"}
    found = {f.name: f for f in check_compilers(environ, needed=True)}
    assert found["compiler"].status is Status.FAILURE
    assert found["compiler"].found == "no no-such-compiler on the path"
    assert "apt-get install g++" in found["compiler"].remedy
    found = {f.name: f for f in check_compilers(environ, needed=False)}
    assert found["compiler"].status is Status.WARNING
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))  # ninja lies beside it
    assert [f.name for f in check_compilers(environ, needed=True) if f.status is Status.FAILURE][
        :2
    ] == [
        "compiler",
        "ninja",
    ]


def test_this_machine_is_described():
    found = {f.name for f in check_machine(needs_compiler=True)}
    assert found == {
        "processor",
        "cores",
        "memory",
        "open files",
        "processes",
        "compiler",
        "ninja",
        "Python's headers",
    }
    assert Path("/proc/cpuinfo").exists()
