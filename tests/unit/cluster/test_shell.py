"""Shell scripts, and the shell inside other files, as shellcheck reads them."""

import shutil
import subprocess

import pytest

from tests.unit.cluster.files import CLUSTER, LAUNCHER, ROOT, read

SCRIPTS = sorted([*ROOT.glob("scripts/*.sh"), *CLUSTER.rglob("*.sh")])


def complaints(script: str) -> str:
    assert shutil.which("shellcheck"), "install shellcheck, as scripts/test.sh does"
    done = subprocess.run(
        ["shellcheck", "--shell=bash", "-"],
        input=script,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda p: p.name)
def test_a_script_has_nothing_to_complain_of(path):
    assert complaints(path.read_text()) == ""


@pytest.mark.parametrize("name", LAUNCHER)
def test_the_commands_of_a_launcher_file_have_nothing_to_complain_of(name):
    lists = [commands for key, commands in read(name).items() if key.endswith("_commands")]
    assert len(lists) == 3
    assert complaints("\n".join(line for commands in lists for line in commands)) == ""


def test_a_careless_script_is_complained_of():
    assert "SC2086" in complaints("rm $1\n")
