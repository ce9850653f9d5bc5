import asyncio
import itertools

import pytest

from keomni_rl.config.run_dir import work_dir
from keomni_rl.driver.stored_checkpoints import StoredCheckpoints
from keomni_rl.errors import CheckpointError
from keomni_rl.storage.learner_files import upload_learner
from keomni_rl.storage.lease import Lease
from keomni_rl.storage.manifest import RunState
from keomni_rl.storage.mirror import Mirror
from keomni_rl.storage.store import Store

NUMBERS = itertools.count()
WEIGHTS = "policy-00000.safetensors"


class Run:
    """The folder of a run in a store, and its checkpoints."""

    def __init__(self, store, folder, mirror):
        self.store, self.folder, self.mirror = store, folder, mirror
        self.checkpoints = StoredCheckpoints(store, mirror)

    def save(self, step, *, keep=3, fail=False):
        async def write_learner(url):
            source = self.folder.with_name(f"of-{step}")
            source.mkdir(exist_ok=True)
            (source / WEIGHTS).write_bytes(b"weights of step %d" % step)
            listing = upload_learner(source, url)
            if fail:
                raise OSError("the store is away")
            return listing

        state = RunState(step=step, position=step * 4)
        return asyncio.run(self.checkpoints.save(state, write_learner, keep=keep))

    def names(self):
        return sorted({n.split("/")[1] for n in self.store.sizes() if n.startswith("checkpoints")})


@pytest.fixture
def run(object_store, tmp_path, monkeypatch):
    monkeypatch.setenv("KEOMNI_RL_WORK_DIR", str(tmp_path / "node"))
    store = Store(f"s3://runs/checkpoints-{next(NUMBERS)}/run")
    folder = tmp_path / "work"
    with (
        Lease(store, settle_s=0) as lease,
        Mirror(folder, store, lease, lambda event, cause: None) as mirror,
    ):
        yield Run(store, folder, mirror)


def test_the_newest_is_found_and_old_ones_go(run):
    assert run.checkpoints.newest() is None
    for step in (2, 4, 6, 8):
        assert run.save(step, keep=2) == f"step_{step:06d}"
    assert run.names() == ["step_000006", "step_000008"]
    newest = run.checkpoints.newest()
    assert newest.state == RunState(step=8, position=32)
    assert (newest.folder / WEIGHTS).read_bytes() == b"weights of step 8"
    assert newest.place == f"{run.store.url}/checkpoints/step_000008"


def test_one_that_was_broken_off_is_none(run):
    run.save(2)
    with pytest.raises(OSError, match="store is away"):
        run.save(4, fail=True)
    assert f"checkpoints/step_000004/{WEIGHTS}" in run.store.sizes()
    assert run.checkpoints.newest().state.step == 2
    run.save(6, keep=2)
    assert run.names() == ["step_000002", "step_000006"]  # the half one is tidied away


def test_it_is_never_ahead_of_its_metrics(run):
    metrics = run.folder / "metrics.jsonl"
    metrics.write_text('{"step": 2}\n')
    run.save(2)
    assert run.store.read("metrics.jsonl") == b'{"step": 2}\n'


def damage(run, step, name, content):
    run.store.write(f"checkpoints/step_{step:06d}/{name}", content)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (WEIGHTS, b"Weights of step 4"),
        (WEIGHTS, b"weights"),
        ("policy-00001.safetensors", b"unlisted"),
        ("state.json", b"{}"),
        ("manifest.json", b"["),
        ("manifest.json", b'{"../../../outside": {"bytes": 1, "sha256": ""}}'),
    ],
)
def test_a_damaged_one_is_passed_over_aloud(run, name, content, caplog):
    run.save(2)
    run.save(4)
    damage(run, 4, name, content)
    assert run.checkpoints.newest().state.step == 2
    assert "step_000004 is damaged" in caplog.text.replace("\n", "")


def test_nothing_but_damage_is_an_error(run):
    run.save(2)
    damage(run, 2, "state.json", b"{}")
    with pytest.raises(CheckpointError, match="all 1 checkpoints are damaged; start a new run"):
        run.checkpoints.newest()


def test_a_damaged_one_takes_no_whole_ones_place(run):
    run.save(2)
    run.save(4)
    damage(run, 4, WEIGHTS, b"cut")
    run.save(6, keep=2)
    assert run.names() == ["step_000002", "step_000006"]


def test_one_that_is_there_counts_though_old_ones_cannot_be_deleted(run, monkeypatch, caplog):
    run.save(2)

    def refuse(self, name):
        raise OSError("AWS Error ACCESS_DENIED during DeleteObject operation")

    with monkeypatch.context() as patch:
        patch.setattr(Store, "delete", refuse)
        assert run.save(4, keep=1) == "step_000004"
    assert "could not be deleted: AWS Error ACCESS_DENIED" in caplog.text
    run.save(6, keep=1)
    assert run.names() == ["step_000006"]


def test_a_node_fetches_it_once_and_forgets_it(run, monkeypatch):
    run.save(2)
    first = run.checkpoints.newest()
    downloads = []
    monkeypatch.setattr(Store, "download", lambda self, files, **_: downloads.append(files))
    assert run.checkpoints.newest() == first
    assert not downloads
    run.checkpoints.forget()
    assert not [path for path in (work_dir() / "fetched").rglob("*") if path.suffix != ".lock"]


def test_one_of_the_same_name_that_was_written_anew_is_fetched_anew(run):
    run.save(2)
    run.checkpoints.newest()
    run.store.delete("checkpoints/step_000002/state.json")
    run.save(2)  # position and weights as before, but for the test's change below
    damage(run, 2, "manifest.json", run.store.read("checkpoints/step_000002/manifest.json") + b" ")
    folder = run.checkpoints.newest().folder
    assert (folder / "manifest.json").read_bytes().endswith(b" ")
