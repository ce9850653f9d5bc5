"""Places that are full, cannot be written to, or are held."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from keomni_rl.doctor.finding import Finding, Status
from keomni_rl.doctor.probes.loopback import check_name, check_ports
from keomni_rl.doctor.probes.places import Room, check_place, check_shared_memory, existing
from keomni_rl.doctor.probes.run_folder import check_lock
from keomni_rl.driver.run_dir import locked

NONE = Room(0, 0, "nothing goes there")
UNSHARE = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c")


def has_namespaces() -> bool:
    """Whether this user may mount something in a namespace of its own."""
    done = subprocess.run([*UNSHARE, "mount -t tmpfs none /mnt"], capture_output=True, check=False)
    return done.returncode == 0


def test_a_folder_that_is_not_there_is_looked_for_above(tmp_path):
    assert existing(tmp_path / "a" / "b") == tmp_path
    found = check_place("run folder", tmp_path / "a" / "b", NONE)
    assert found.status is Status.OK
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("needed", "wanted", "status"),
    [(0, 0, Status.OK), (0, 2**70, Status.WARNING), (2**70, 2**70, Status.FAILURE)],
)
def test_room(tmp_path, needed, wanted, status):
    found = check_place("here", tmp_path, Room(needed, wanted, "nothing goes there"))
    assert found.status is status


def test_a_place_that_takes_no_file_is_a_failure():
    found = check_place("here", Path("/proc/self"), NONE)
    assert found.status is Status.FAILURE
    assert "cannot be written to" in found.found


def test_no_shared_memory_is_a_failure(tmp_path):
    assert check_shared_memory(tmp_path / "none").status is Status.FAILURE


@pytest.mark.skipif(not has_namespaces(), reason="no namespaces for this user")
def test_small_shared_memory_and_a_full_run_folder(tmp_path):
    script = (
        f"mount -t tmpfs -o size=64m none /dev/shm && mount -t tmpfs -o size=2m none {tmp_path} && "
        f"head -c 4m /dev/zero > {tmp_path}/filled; "
        f"{sys.executable} -m keomni_rl.doctor.probes keomni_rl.doctor.probes.places '{{}}' && "
        f"{sys.executable} -m keomni_rl.doctor.probes keomni_rl.doctor.probes.run_folder "
        f"'{json.dumps({'run_dir': str(tmp_path / 'run')})}'"
    )
    done = subprocess.run(
        [*UNSHARE, script],
        env=os.environ | {"TMPDIR": "/tmp"},
        capture_output=True,
        text=True,
        check=True,
    )
    found = {f.name: f for f in map(Finding.model_validate_json, done.stdout.splitlines())}
    assert found["shared memory"].status is Status.FAILURE
    assert "64 MiB" in found["shared memory"].found
    assert "--shm-size" in found["shared memory"].remedy
    assert found["run folder"].status is Status.FAILURE
    assert "0 MiB free" in found["run folder"].found


def test_a_folder_with_a_driver_in_it_is_told(tmp_path):
    assert check_lock(tmp_path).status is Status.OK
    assert list(tmp_path.iterdir()) == []
    with locked(tmp_path):
        assert check_lock(tmp_path).status is Status.WARNING
    assert check_lock(tmp_path).status is Status.OK


def test_ports_and_names():
    assert check_ports("127.0.0.1").status is Status.OK
    assert check_ports("192.0.2.77").status is Status.FAILURE  # of documentation, no machine's
    assert check_name("no-such-host.invalid").status is Status.WARNING
