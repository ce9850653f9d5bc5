"""Every `keomni-rl` command that a file of cluster/ holds exists, with its options and its files."""

import re
import shlex
from pathlib import Path

import pytest

from keomni_rl.config import RunConfig, load_config
from tests.command_lines import SCHEMAS, parsed
from tests.unit.cluster.files import CLUSTER, IN_IMAGE, ROOT, ray_cluster, read


@pytest.fixture(autouse=True)
def _in_the_checkout(monkeypatch):
    monkeypatch.chdir(ROOT)


def commands(text: str) -> list[list[str]]:
    """The words after `keomni-rl` in a file's lines; the Slurm script hands on its own."""
    whole = re.sub(r"\\\n[#\s]*", " ", text)
    found = re.findall(r"(keomni-rl|cluster/slurm\.sh) ([a-z]+ [^`\n]*)", whole)
    return [
        shlex.split(words, comments=True) + ["--start-or-resume"] * program.endswith(".sh")
        for program, words in found
    ]


def all_commands() -> list[list[str]]:
    found = shlex.split(read("kuberay/rayjob.yaml")["spec"]["entrypoint"])[1:]
    texts = [(CLUSTER / name).read_text() for name in ("README.md", "slurm.sh")]
    return [found, *(words for text in texts for words in commands(text))]


@pytest.mark.parametrize("words", all_commands(), ids=" ".join)
def test_a_command_is_one_that_there_is(words):
    name, given = parsed(words)
    if name in SCHEMAS and given["words"]:
        local = [str(in_checkout(word)) for word in given["words"]]
        config = load_config(SCHEMAS[name], local)
        assert config.run_dir.is_absolute()


def in_checkout(word: str) -> Path | str:
    path = Path(word)
    return path.relative_to(IN_IMAGE) if path.is_relative_to(IN_IMAGE) else word


def test_what_names_no_command_is_found_out():
    [unknown] = commands("keomni-rl train a.yaml --carry-on")
    with pytest.raises(Exception, match="No such option"):
        parsed(unknown)
    [misspelt] = commands("keomni-rl traine a.yaml")
    with pytest.raises(KeyError):
        parsed(misspelt)


def test_every_submission_goes_on_when_it_is_made_again():
    assert 'keomni-rl "$@" --start-or-resume' in (CLUSTER / "slurm.sh").read_text()
    submitted = [words for words in all_commands() if words[0] in SCHEMAS]
    assert len(submitted) >= 5
    for words in submitted:
        assert words[-1] in ("--start-or-resume", "--check"), words


@pytest.mark.parametrize("name", ["rayjob.yaml", "raycluster.yaml"])
def test_a_cluster_has_what_the_recipe_on_it_asks_for(name):
    words = shlex.split(read("kuberay/rayjob.yaml")["spec"]["entrypoint"])[2:-1]
    placement = load_config(RunConfig, [str(in_checkout(word)) for word in words]).placement
    roles = (placement.rollout, placement.learner, placement.reference, placement.evaluator)
    asked = sum(role.actors * role.gpus for role in roles)
    there = 0
    for group in ray_cluster(name)["workerGroupSpecs"]:
        [container] = group["template"]["spec"]["containers"]
        limits = container["resources"]["limits"]
        there += group["replicas"] * int(limits["nvidia.com/gpu"])
    assert asked == there
