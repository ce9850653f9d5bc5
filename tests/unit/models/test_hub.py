"""A model by its hub name: from a hub on loopback, from the cache, and what is refused."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from keomni_rl.errors import CheckpointError
from keomni_rl.models.hub import is_here, local_model
from keomni_rl.models.layout import write_shell
from tests.loopback_hub import COMMIT, loopback_hub
from tests.voiced_omni import build_voiced_omni

ASK = """
import json, os, sys
from pathlib import Path
from keomni_rl.errors import CheckpointError
from keomni_rl.models.hub import is_here, local_model
name, revision, *companions = sys.argv[1:]
answer = {"was_here": is_here(Path(name), revision or None)}
try:
    offline = "TAKE_CACHED" in os.environ
    folder = local_model(Path(name), revision or None, companions=companions, offline=offline)
    answer |= {"folder": str(folder), "files": sorted(f.name for f in folder.iterdir())}
except CheckpointError as error:
    answer["error"] = str(error)
print(json.dumps(answer))
"""


@pytest.fixture(scope="module")
def models(tiny_model, tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("hub")
    whole = build_voiced_omni(folder / "whole", tiny_model)
    (whole / "code.py").write_text("raise SystemExit")
    (whole / "README.md").write_text("words")
    (whole / "pytorch_model.bin").write_bytes(b"a pickle")
    write_shell(folder / "pickled", tiny_model, "thinker")
    (folder / "pickled" / "pytorch_model.bin").write_bytes(b"a pickle")
    return {"Qwen/Tiny": whole, "Qwen/Closed": whole, "Qwen/Pickled": folder / "pickled"}


@pytest.fixture(scope="module")
def hub(models):
    with loopback_hub(models, gated={"Qwen/Closed"}) as hub:
        yield hub


def ask(home: Path, url: str, name: str, revision: str = "", *companions: str, offline=False):
    """In a process of its own, since the hub's client reads its settings when it is imported."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("HF_")} | {
        "HF_HOME": str(home),
        "HF_ENDPOINT": url,
        "HF_HUB_OFFLINE": str(int(offline)),
        "HF_HUB_ETAG_TIMEOUT": "2",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }
    done = subprocess.run(
        [sys.executable, "-c", ASK, name, revision, *companions],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def test_a_model_is_fetched_once_without_pickles_and_code_and_then_needs_no_network(
    hub, models, tmp_path
):
    first = ask(tmp_path, hub.url, "Qwen/Tiny")
    assert not first["was_here"]
    wanted = {
        file.name
        for file in models["Qwen/Tiny"].iterdir()
        if file.suffix in {".json", ".jinja", ".safetensors"}
    }
    assert set(first["files"]) == wanted
    assert "spk_dict.pt" not in wanted
    assert Path(first["folder"]).name == COMMIT
    assert set(hub.downloads) == wanted
    fetched = len(hub.downloads)
    again = ask(tmp_path, hub.url, "Qwen/Tiny")
    assert again == first | {"was_here": True}
    assert len(hub.downloads) == fetched
    for offline, url in ((True, hub.url), (False, "http://127.0.0.1:9")):
        assert ask(tmp_path, url, "Qwen/Tiny", offline=offline) == again


def test_what_is_cached_can_be_had_without_asking_for_anything_newer(hub, tmp_path, monkeypatch):
    fetched = ask(tmp_path, hub.url, "Qwen/Tiny")
    monkeypatch.setenv("TAKE_CACHED", "1")
    asked = hub.num_requests
    assert ask(tmp_path, hub.url, "Qwen/Tiny") == fetched | {"was_here": True}
    assert "not in the local cache" in ask(tmp_path, hub.url, "Qwen/Other")["error"]
    assert hub.num_requests == asked


def test_a_revision_is_pinned_and_a_companion_comes_when_it_is_asked_for(hub, tmp_path):
    pinned = ask(tmp_path, hub.url, "Qwen/Tiny", "v1", "spk_dict.pt")
    assert "spk_dict.pt" in pinned["files"]
    assert ask(tmp_path, "http://127.0.0.1:9", "Qwen/Tiny", COMMIT)["was_here"]
    assert not ask(tmp_path, "http://127.0.0.1:9", "Qwen/Tiny", "v2")["was_here"]


@pytest.mark.parametrize(
    ("name", "revision", "message"),
    [
        ("Qwen/Nothing", "", "no such model on the hub"),
        ("Qwen/Closed", "", "access is restricted.*hf auth login"),
        ("Qwen/Tiny", "v2", "revision 'v2': no such revision"),
        ("Qwen/Pickled", "", "has no .*safetensors; pickled weights are not read"),
    ],
)
def test_what_the_hub_refuses_is_said(hub, tmp_path, name, revision, message):
    answer = ask(tmp_path, hub.url, name, revision)
    assert re.search(message, answer["error"]), answer


def test_without_network_and_cache_it_says_so(hub, tmp_path):
    for offline, url in ((True, hub.url), (False, "http://127.0.0.1:9")):
        answer = ask(tmp_path, url, "Qwen/Tiny", offline=offline)
        assert answer["was_here"] is False
        assert "not in the local cache, and the hub cannot be reached" in answer["error"]


def test_half_a_download_counts_as_not_here(hub, tmp_path):
    folder = Path(ask(tmp_path, hub.url, "Qwen/Tiny")["folder"])
    (folder / "model-00002-of-00004.safetensors").unlink()
    answer = ask(tmp_path, hub.url, "Qwen/Tiny", offline=True)
    assert answer["was_here"] is False
    assert "not in the local cache" in answer["error"]
    mended = ask(tmp_path, hub.url, "Qwen/Tiny")
    assert "model-00002-of-00004.safetensors" in mended["files"]


def test_a_folder_is_taken_as_it_is(tiny_model):
    assert local_model(tiny_model) == tiny_model
    assert is_here(tiny_model)
    with pytest.raises(CheckpointError, match="a folder has no revision 'v1'"):
        local_model(tiny_model, "v1")


@pytest.mark.parametrize("path", ["/no/such/model", "model", "a/b/c", "../model", "runs/.hidden"])
def test_what_is_neither_folder_nor_name_is_refused_without_asking_anyone(path):
    assert is_here(Path(path))
    with pytest.raises(CheckpointError, match="no such model folder, and not a hub name either"):
        local_model(Path(path))


def test_a_file_is_no_model(tmp_path):
    file = tmp_path / "model"
    file.write_text("")
    with pytest.raises(CheckpointError, match="no such model folder"):
        local_model(file)
