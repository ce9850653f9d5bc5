"""The machine as the kernel shows it: processor, memory, limits, compilers; nothing is loaded."""

import os
import platform
import resource
import shutil
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil

from keomni_rl.doctor.finding import Finding, failure, ok, warning

AREA = "machine"
GIB = 2**30
CPUINFO = Path("/proc/cpuinfo")
CGROUP = Path("/sys/fs/cgroup")
MIN_CORES = 2
MIN_MEMORY_GIB = 8
"""What the demo's processes take together, each with torch in it."""
RAY_FILES = 8192
"""Open files that Ray asks for on a node; it raises the limit as far as it may."""
MIN_FILES = 4096
MIN_PROCESSES = 4096
"""Ray counts threads too: each of its workers has dozens."""


def has_nvidia() -> bool:
    """Whether there is a GPU of NVIDIA's, as far as files tell, whatever state it is in."""
    return Path("/dev/nvidia0").exists() or Path("/dev/dxg").exists()


def check_machine(*, needs_compiler: bool) -> Iterator[Finding]:
    """All of it.

    Args:
        needs_compiler: DeepSpeed compiles its collectives here, as it does without GPUs.
    """
    yield check_processor(CPUINFO.read_text(), platform.machine(), needs_vectors=needs_compiler)
    yield check_cores(_cores(CGROUP))
    yield check_memory(*_memory(CGROUP))
    yield check_open_files(resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    yield check_processes(_process_limit(CGROUP))
    yield from check_compilers(os.environ, needed=needs_compiler)


def check_processor(cpuinfo: str, architecture: str, *, needs_vectors: bool) -> Finding:
    """Which of vLLM's kernels for CPUs this one can run.

    Args:
        cpuinfo: what ``/proc/cpuinfo`` says.
        architecture: such as ``x86_64``.
        needs_vectors: whether those kernels are what engines run on.
    """
    fields = dict(_field(line) for line in cpuinfo.splitlines() if ":" in line)
    model = fields.get("model name", architecture)
    if architecture != "x86_64":
        return ok(AREA, "processor", f"{model} ({architecture})")
    flags = set(fields.get("flags", "").split())
    known = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
    told = f"{model}, {', '.join(f for f in known if f in flags) or 'without AVX2'}"
    if "avx2" not in flags and needs_vectors:
        return failure(
            AREA,
            "processor",
            told,
            "vLLM's kernels for CPUs need AVX2: take another machine, or have the virtual machine "
            "show its host's processor",
        )
    if "avx512f" not in flags and needs_vectors:
        return warning(
            AREA, "processor", told, "nothing must be done; with AVX-512 engines would be faster"
        )
    return ok(AREA, "processor", told)


def _field(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name.strip(), value.strip()


def check_cores(cores: float) -> Finding:
    """Cores that this process may use."""
    if cores >= MIN_CORES:
        return ok(AREA, "cores", f"{cores:g}")
    return warning(
        AREA,
        "cores",
        f"{cores:g}, wanted {MIN_CORES} or more",
        "engines will take turns and starts may run out of time; give the container or job more",
    )


def _cores(cgroup: Path) -> float:
    allowed = float(len(os.sched_getaffinity(0)))
    quota, _, period = _read(cgroup / "cpu.max").partition(" ")
    return min(allowed, int(quota) / int(period)) if quota.isdecimal() else allowed


def check_memory(total: float, available: float) -> Finding:
    """Main memory in bytes, what there is and what is not in use."""
    told = f"{available / GIB:.1f} GiB of {total / GIB:.1f} GiB available"
    if available >= MIN_MEMORY_GIB * GIB:
        return ok(AREA, "memory", told)
    return warning(
        AREA,
        "memory",
        f"{told}, wanted {MIN_MEMORY_GIB} GiB or more",
        "end other programs or give the container or job more memory; without it the kernel or "
        "Ray ends actors",
    )


def _memory(cgroup: Path) -> tuple[float, float]:
    machine = psutil.virtual_memory()
    limit, used = _read(cgroup / "memory.max"), _read(cgroup / "memory.current")
    if not (limit.isdecimal() and used.isdecimal()):
        return machine.total, machine.available
    total = min(int(limit), machine.total)
    return total, min(total - int(used), machine.available)


def check_open_files(limit: int) -> Finding:
    """How many files a process may open: the hard limit, up to which Ray raises the soft one."""
    told = _limit(limit)
    if limit == resource.RLIM_INFINITY or limit >= RAY_FILES:
        return ok(AREA, "open files", told)
    judge = failure if limit < MIN_FILES else warning
    return judge(
        AREA,
        "open files",
        f"{told}, Ray wants {RAY_FILES}",
        f"raise the hard limit: `ulimit -Hn {RAY_FILES}` as root, LimitNOFILE= of the service or "
        f"`docker run --ulimit nofile={RAY_FILES}`",
    )


def check_processes(limit: int) -> Finding:
    """How many processes and threads there may be."""
    told = _limit(limit)
    if limit == resource.RLIM_INFINITY or limit >= MIN_PROCESSES:
        return ok(AREA, "processes", told)
    return warning(
        AREA,
        "processes",
        f"{told}, wanted {MIN_PROCESSES} or more, threads included",
        "raise `ulimit -u`, or the container's or job's limit of processes (pids)",
    )


def _process_limit(cgroup: Path) -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    found = [soft] if soft != resource.RLIM_INFINITY else []
    if (pids := _read(cgroup / "pids.max")).isdecimal():
        found.append(int(pids))
    return min(found, default=resource.RLIM_INFINITY)


def _limit(limit: int) -> str:
    return "no limit" if limit == resource.RLIM_INFINITY else f"{limit:,} at most"


def check_compilers(environ: Mapping[str, str], *, needed: bool) -> Iterator[Finding]:
    """What DeepSpeed compiles its operators with, found as the learner finds it."""
    judge = failure if needed else warning
    path = f"{Path(sys.executable).parent}{os.pathsep}{environ.get('PATH', '')}"
    compiler = environ.get("CXX", "c++")
    if found := shutil.which(compiler, path=path):
        yield ok(AREA, "compiler", found)
    else:
        yield judge(
            AREA,
            "compiler",
            f"no {compiler} on the path",
            "install one (Debian: apt-get install g++); DeepSpeed compiles its collectives with it",
        )
    if found := shutil.which("ninja", path=path):
        yield ok(AREA, "ninja", found)
    else:
        yield judge(AREA, "ninja", "not on the path", "`pip install ninja`")
    header = Path(sysconfig.get_path("include")) / "Python.h"
    if header.is_file():
        yield ok(AREA, "Python's headers", str(header.parent))
    else:
        yield judge(
            AREA,
            "Python's headers",
            f"no {header}",
            "install them (Debian: apt-get install python3-dev)",
        )


def _read(path: Path) -> str:
    return path.read_text().strip() if path.is_file() else ""
