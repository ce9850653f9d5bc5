"""Joining or starting Ray on a machine that has seen other clusters."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

PROGRAM = "from keomni_rl.actors.remote import join_ray; import ray; join_ray(None); ray.shutdown()"


def test_a_cluster_that_has_died_here_is_not_looked_for():
    with tempfile.TemporaryDirectory(prefix="k", dir="/tmp") as folder:  # sockets want short paths
        current = Path(folder) / "ray" / "ray_current_cluster"
        current.parent.mkdir()
        current.write_text("127.0.0.1:9")
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env=os.environ | {"RAY_TMPDIR": folder},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
    assert done.returncode == 0, done.stderr[-2000:]
