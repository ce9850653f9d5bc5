"""The run folder, on a disk or at a URL: room, the right to write, and whether it is held."""

import fcntl
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

from keomni_rl.config.run_dir import located
from keomni_rl.doctor.finding import Finding, failure, ok, warning
from keomni_rl.doctor.probes.places import GIB, Room, check_place, existing
from keomni_rl.driver.run_dir import locked
from keomni_rl.errors import ConfigError
from keomni_rl.storage.lease import NAME as LEASE
from keomni_rl.storage.reading import is_taken
from keomni_rl.storage.store import open_store

AREA = "places"
RUNS = Room(0.2 * GIB, 20 * GIB, "checkpoints of a model of 7B take 100 GiB each")


def probe(*, run_dir: str) -> Iterator[Finding]:
    """Look.

    Args:
        run_dir: path or URL.
    """
    place = located(run_dir)
    if isinstance(place, str):
        yield check_store(place)
        return
    yield check_place("run folder", place, RUNS)
    yield check_lock(place)


def check_lock(place: Path) -> Finding:
    """Whether another driver is in the folder, and if none is, whether one could lock it."""
    name = "run folder's lock"
    if (place / ".lock").is_file():
        try:
            with locked(place):
                pass
        except ConfigError as error:
            return warning(AREA, name, str(error), "stop that driver, or give another --run-dir")
    try:
        with tempfile.TemporaryFile(dir=existing(place)) as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return failure(
            AREA,
            name,
            f"{place}: cannot be locked ({error.strerror})",
            "a run locks its folder against a second driver: mount a file system that knows flock, "
            "as NFS 4 does",
        )
    taken = "it holds a run, which nobody drives now" if is_taken(place) else "nobody holds it"
    return ok(AREA, name, taken)


def check_store(url: str) -> Finding:
    """Whether one may write there and take away, and whether a driver's lease is there."""
    name = "run folder"
    try:
        store = open_store(url)
        lease = store.read(LEASE)
    except (ConfigError, OSError) as error:
        return failure(AREA, name, str(error), "mend that; `keomni-rl doctor` again tells")
    if lease is None:
        taken = ", holds a run" if is_taken(url) else ""
        return ok(AREA, name, f"{url}: can be written to{taken}")
    owner = json.loads(lease)
    return warning(
        AREA,
        name,
        f"{url}: process {owner.get('pid')} on {owner.get('host')} drives a run in it, or left "
        "without giving it back",
        "stop that driver; what one that died has left is taken over after 40 s",
    )
