"""``keomni-rl export --push``: to a hub on loopback, and what is refused."""

import os
import re
import subprocess
import sys

import pytest
from huggingface_hub import ModelCard
from typer.testing import CliRunner

from keomni_rl.cli.app import app
from keomni_rl.errors import ConfigError
from tests.loopback_hub import COMMIT, loopback_hub


@pytest.fixture(scope="module")
def hub():
    with loopback_hub({}, owners={"hf_mine": "me", "hf_yours": "you"}) as hub:
        yield hub


def export(hub_url: str, home, model, *words: object, token: str | None = "hf_mine"):
    """In a process of its own, since the hub's client reads its settings when it is imported."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("HF_")} | {
        "HF_HOME": str(home / "home"),
        "HF_ENDPOINT": hub_url,
        "HF_HUB_DISABLE_XET": "1",  # a protocol of its own, which the hub here does not speak
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
        **({"HF_TOKEN": token} if token else {}),
    }
    command = [sys.executable, "-m", "keomni_rl.cli", "export", str(model), str(home / "out")]
    return subprocess.run(
        [*command, *map(str, words)], env=env, capture_output=True, text=True, check=False
    )


def test_a_push_uploads_the_whole_folder(hub, tiny_model, tmp_path):
    words = ("--push", "me/tiny", "--private", "--license", "mit")
    done = export(hub.url, tmp_path, tiny_model, *words)
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"pushed: {hub.url}/me/tiny/commit/{COMMIT}" in done.stdout
    written = {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()}
    assert hub.uploaded["me/tiny"] == written
    assert hub.private == {"me/tiny"}
    card = ModelCard(written["README.md"].decode())
    assert (card.data.license, card.data.model_name) == ("mit", "out")


def test_without_push_nothing_is_asked_of_the_hub(hub, tiny_model, tmp_path):
    before = hub.num_requests
    assert export(hub.url, tmp_path, tiny_model).returncode == 0
    assert hub.num_requests == before


@pytest.mark.parametrize(
    ("token", "message"),
    [
        (None, "no token of the hub here; log in with `hf auth login`"),
        ("hf_nobody", "the hub does not know the token"),
    ],
)
def test_a_login_is_asked_for_before_anything_is_written(hub, tiny_model, tmp_path, token, message):
    done = export(hub.url, tmp_path, tiny_model, "--push", "me/x", token=token)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--push", "a b"), "no name of a repository; give OWNER/NAME"),
        (("--private",), "--private is of --push"),
        (("--license", "Apache 2"), "no license as the hub spells them"),
        (("--license-name", "mine"), "are of --license other"),
    ],
)
def test_options_that_cannot_be_are_refused(words, message):
    with pytest.raises(ConfigError, match=message):
        CliRunner().invoke(app, ["export", "model", "out", *words], catch_exceptions=False)


def test_without_a_network_it_says_so(tiny_model, tmp_path):
    done = export("http://127.0.0.1:9", tmp_path, tiny_model, "--push", "me/x")
    assert done.returncode == 2
    assert re.search("the hub cannot be reached .*try again where there is a network", done.stderr)


def test_a_repository_of_somebody_else_is_refused_and_the_folder_stays(hub, tiny_model, tmp_path):
    done = export(hub.url, tmp_path, tiny_model, "--push", "you/tiny")
    assert done.returncode == 2
    assert "the token may not write there (HTTP 403)" in done.stderr
    assert f"hf upload you/tiny {tmp_path / 'out'}" in done.stderr
    assert (tmp_path / "out" / "README.md").is_file()
