"""Where files go: room and the right to write, in memory that is shared and on disks."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from keomni_rl.config.run_dir import work_dir
from keomni_rl.doctor.finding import Finding, failure, ok, warning

GIB = 2**30
MIB = 2**20
TRIAL_BYTES = 2 * MIB
NEEDED_SHM_BYTES = 256 * MIB
"""Each learner rank of DeepSpeed's takes 66 MiB for collectives on one machine, NCCL's as much; too
little is not an error there but ends the process."""
WANTED_SHM_BYTES = 2 * GIB
"""Below it Ray's object store, which audio and groups go through, has little room."""
FULL = 0.95
"""Share of a disk in use from which on Ray makes no more objects."""


@dataclass(frozen=True)
class Room:
    """What a place needs and what it should have, in bytes."""

    needed: float
    wanted: float
    what_for: str


TEMPORARY = Room(0.2 * GIB, 5 * GIB, "engines keep model folders there")
RAY = Room(0.2 * GIB, 5 * GIB, "Ray keeps logs and spilled objects there")
HUB = Room(0, 25 * GIB, "models are fetched to it; one of 7B takes 22 GiB")
WORK = Room(0.2 * GIB, 5 * GIB, "runs at URLs and generated data lie there")


def probe() -> Iterator[Finding]:
    """All places but the run folder."""
    yield check_shared_memory(Path("/dev/shm"))
    yield check_place("temporary files", Path(tempfile.gettempdir()), TEMPORARY)
    yield check_place("Ray's files", Path(os.environ.get("RAY_TMPDIR", "/tmp")), RAY, full=FULL)
    yield check_place("work folder", work_dir(), WORK)
    yield from check_hub()


def check_shared_memory(place: Path) -> Finding:
    """What actors of one machine hand things over in."""
    area, name = "places", "shared memory"
    bigger = "start the container with --shm-size=8g (Kubernetes: an emptyDir of medium Memory)"
    if not place.is_dir():
        return failure(area, name, f"there is no {place}", bigger)
    usage = shutil.disk_usage(place)
    told = f"{place}: {_size(usage.free)} of {_size(usage.total)} free"
    if usage.free < NEEDED_SHM_BYTES:
        cure = bigger if usage.total < WANTED_SHM_BYTES else f"delete what was left in {place}"
        return failure(area, name, f"{told}, needed {_size(NEEDED_SHM_BYTES)}", cure)
    if trouble := write_trial(place):
        return failure(area, name, f"{place}: {trouble}", f"make {place} writable (mode 1777)")
    if usage.free < WANTED_SHM_BYTES:
        return warning(area, name, f"{told}, wanted {_size(WANTED_SHM_BYTES)}", bigger)
    return ok(area, name, told)


def check_place(name: str, place: Path, room: Room, *, full: float = 1.0) -> Finding:
    """One folder, which may not be there yet.

    Args:
        name: of it.
        place: the folder.
        room: that it needs.
        full: share of the disk in use that is as good as all of it.
    """
    area = "places"
    folder = existing(place)
    usage = shutil.disk_usage(folder)
    told = f"{place}: {_size(usage.free)} free"
    elsewhere = f"make room, or put it elsewhere; {room.what_for}"
    if usage.free < room.needed:
        return failure(area, name, f"{told}, needed {_size(room.needed)}", elsewhere)
    if trouble := write_trial(folder):
        return failure(area, name, f"{folder}: {trouble}", "make it writable, or name another")
    if usage.free < (1 - full) * usage.total:
        return failure(
            area,
            name,
            f"{told}, the disk is over {full:.0%} full, where Ray stops making objects",
            "make room, or set RAY_TMPDIR to a folder with a short path on another disk",
        )
    if usage.free < room.wanted:
        return warning(area, name, f"{told}, wanted {_size(room.wanted)}", elsewhere)
    return ok(area, name, told)


def check_hub() -> Iterator[Finding]:
    """Hugging Face's cache, and whether models may be fetched at all."""
    from huggingface_hub import constants, get_token

    cache = Path(constants.HF_HUB_CACHE)
    yield check_place("Hugging Face cache", cache, HUB)
    held = len(list(cache.glob("models--*"))) if cache.is_dir() else 0
    told = f"{held} models in the cache, {'a' if get_token() else 'no'} token"
    if constants.HF_HUB_OFFLINE:
        told = f"offline (HF_HUB_OFFLINE): models come from the cache or a folder; {told}"
    yield ok("places", "Hugging Face hub", told)


def existing(place: Path) -> Path:
    """The folder itself, or the nearest one above it in which it would be made."""
    place = place.absolute()
    return next(folder for folder in (place, *place.parents) if folder.is_dir())


def write_trial(folder: Path) -> str | None:
    """Why a file of some size cannot be kept in a folder; None if it can."""
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".keomni_rl-doctor-") as file:
            file.write(b"\1" * TRIAL_BYTES)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return f"cannot be written to ({error.strerror})"
    return None


def _size(num_bytes: float) -> str:
    unit, name = (GIB, "GiB") if num_bytes >= GIB else (MIB, "MiB")
    return f"{num_bytes / unit:,.0f} {name}"
