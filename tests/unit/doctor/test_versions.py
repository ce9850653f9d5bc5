"""Installed packages against metadata, real and made up."""

from importlib.metadata import Distribution, distribution, version

import pytest

from keomni_rl.doctor.finding import Status
from keomni_rl.doctor.versions import check_flavour, check_packages, check_python, check_versions

MADE_UP = """Metadata-Version: 2.4
Name: keomni-rl
Version: 0.1.0
Requires-Python: {python}
Provides-Extra: cpu
Provides-Extra: gpu
{requires}
"""


@pytest.fixture
def ours(tmp_path):
    """Makes metadata that ask for something."""

    def make(*requires: str, python: str = ">=3.11") -> Distribution:
        folder = tmp_path / "keomni_rl-0.1.0.dist-info"
        folder.mkdir()
        lines = "\n".join(f"Requires-Dist: {line}" for line in requires)
        (folder / "METADATA").write_text(MADE_UP.format(python=python, requires=lines))
        return Distribution.at(folder)

    return make


def test_this_installation_has_what_it_asks_for():
    found = {f.name: f for f in check_versions(has_gpu=False)}
    assert found["keomni-rl"].found == distribution("keomni-rl").version
    assert {"torch", "ray", "deepspeed", "transformers", "vllm"} <= found.keys()
    assert found["torch"].found == version("torch")


def test_a_missing_and_an_old_package_are_failures_with_the_command(ours):
    wanted = ours(f"numpy=={version('numpy')}", "no-such-engine==1.2", "rich>=999", "typer>=0.1")
    found = [(f.status, f.name, f.found, f.remedy) for f in check_packages(wanted)]
    missing, old = found[1:3]
    assert found[0][:3] == (Status.OK, "numpy", version("numpy"))
    assert missing[:3] == (Status.FAILURE, "no-such-engine", "not installed, wanted ==1.2")
    assert '`pip install "no-such-engine==1.2"`' in missing[3]
    assert old[:3] == (Status.FAILURE, "rich", f"{version('rich')}, wanted >=999")
    assert found[3][1:3] == ("other packages", "1 as required")


@pytest.mark.parametrize(
    ("running", "status"),
    [
        ("3.11.0", Status.OK),
        ("3.13.9", Status.OK),
        ("3.10.14", Status.FAILURE),
        ("3.14.0", Status.FAILURE),
    ],
)
def test_python(ours, running, status):
    assert check_python(ours(python=">=3.11,<3.14"), running).status is status


@pytest.mark.parametrize(
    ("cpu", "gpu", "has_gpu", "status", "told"),
    [
        ("numpy", "no-vllm", False, Status.OK, "numpy"),
        ("no-vllm", "numpy", True, Status.OK, "numpy"),
        ("numpy", "no-vllm", True, Status.WARNING, "this machine has one, which is not used"),
        ("no-vllm", "numpy", False, Status.FAILURE, "this machine has none"),
        ("no-vllm", "no-vllm-gpu", False, Status.FAILURE, "not installed"),
        ("numpy", "rich", False, Status.FAILURE, "both numpy and rich are installed"),
        ("numpy==0.1", "no-vllm", False, Status.FAILURE, "wanted ==0.1"),
    ],
)
def test_the_vllm_that_is_here_fits_the_machine(ours, cpu, gpu, has_gpu, status, told):
    """Other packages stand for the two vLLMs, as both cannot be installed."""
    wanted = ours("typer", f'{cpu}; extra == "cpu"', f'{gpu}; extra == "gpu"')
    found = check_flavour(wanted, has_gpu=has_gpu)
    assert found.status is status
    assert told in found.found
