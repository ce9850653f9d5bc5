import threading

import pytest

from keomni_rl.errors import ActorError, ConfigError, StoreError
from keomni_rl.observe.sinks import read_lines, replace_lines
from keomni_rl.storage import mirror as module
from keomni_rl.storage.lease import NAME, Lease
from keomni_rl.storage.mirror import Mirror
from keomni_rl.storage.store import open_store


class Mirrored:
    """A mirror with its parts, and what it told."""

    def __init__(self, store, folder):
        self.store, self.folder = store, folder
        self.told = []
        self.has_told = threading.Event()
        self.lease = Lease(store, beat_s=0.2, settle_s=0)

    def on_event(self, event, cause):
        self.told.append((event, cause))
        self.has_told.set()

    def wait_for(self, event):
        while event not in [name for name, _ in self.told]:
            assert self.has_told.wait(60)
            self.has_told.clear()

    def open(self):
        return Mirror(self.folder, self.store, self.lease, self.on_event)


@pytest.fixture
def mirrored(store, tmp_path):
    with (made := Mirrored(store, tmp_path / "work")).lease:
        yield made


@pytest.fixture
def unhurried(monkeypatch):
    """No pass comes by itself: what is uploaded is what is asked for."""
    monkeypatch.setattr(module, "EVERY_S", 3600.0)


def stored(store):
    return {name: store.read(name) for name in store.sizes() if name != NAME}


def test_the_store_is_as_the_folder_is(mirrored, unhurried):
    with mirrored.open() as mirror:
        (mirrored.folder / "rollouts").mkdir()
        (mirrored.folder / "metrics.jsonl").write_text('{"step": 1}\n{"st')
        (mirrored.folder / "rollouts" / "a b%20\N{LATIN SMALL LETTER E WITH ACUTE}").write_text("x")
        (mirrored.folder / "old").write_text("x")
        for hidden in (".lock", "metrics.tmp", "checkpoints/step_1"):
            (mirrored.folder / hidden).parent.mkdir(exist_ok=True)
            (mirrored.folder / hidden).write_text("x")
        mirror.flush()
        odd = "rollouts/a b%20\N{LATIN SMALL LETTER E WITH ACUTE}"
        held = {"metrics.jsonl": b'{"step": 1}\n', odd: b"x", "old": b"x"}
        assert stored(mirrored.store) == held  # of a line that is being written nothing
        (mirrored.folder / "old").unlink()
        replace_lines(mirrored.folder / "metrics.jsonl", [{"step": 2}])
        mirror.flush()
        assert stored(mirrored.store) == {"metrics.jsonl": b'{"step": 2}\n', odd: b"x"}
        (mirrored.folder / "report.html").write_text("last")
    assert stored(mirrored.store)["report.html"] == b"last"


def test_what_has_not_changed_is_not_uploaded_again(mirrored, unhurried):
    with mirrored.open() as mirror:
        (mirrored.folder / "config.yaml").write_text("mine")
        mirror.flush()
        mirrored.store.write("config.yaml", b"somebody else's")
        mirror.flush()
        assert mirrored.store.read("config.yaml") == b"somebody else's"


def test_a_resumption_finds_what_the_store_holds_and_no_leftovers(mirrored, unhurried):
    mirrored.store.write("evaluation/step_000000/summary.json", b"{}")
    mirrored.store.write("checkpoints/step_000002/manifest.json", b"{}")
    mirrored.folder.mkdir()
    (mirrored.folder / "metrics.jsonl").write_text("of an older run")
    with mirrored.open():
        here = [p for p in mirrored.folder.rglob("*") if p.is_file()]
        assert here == [mirrored.folder / "evaluation" / "step_000000" / "summary.json"]
    assert "checkpoints/step_000002/manifest.json" in mirrored.store.sizes()


def test_what_a_store_names_outside_of_the_folder_is_not_written(mirrored, object_store, tmp_path):
    folder = mirrored.store.url.removeprefix("s3://runs/")
    object_store.write(f"{folder}/../outside", b"x")
    object_store.write(f"{folder}/a/../../../outside", b"x")
    with pytest.raises(ConfigError, match="leads out of it"):
        mirrored.open().__enter__()
    assert not (tmp_path / "outside").exists()


def test_an_outage_is_told_once_and_what_was_written_meanwhile_arrives(
    mirrored, object_store, monkeypatch
):
    monkeypatch.setattr(module, "EVERY_S", 0.05)
    with mirrored.open():
        object_store.stop()
        (mirrored.folder / "metrics.jsonl").write_text('{"step": 1}\n')
        mirrored.wait_for("store away")
        (mirrored.folder / "metrics.jsonl").write_text('{"step": 1}\n{"step": 2}\n')
        object_store.start()
        mirrored.wait_for("store back")
        assert len(mirrored.told) == 2
        assert "NETWORK_CONNECTION" in mirrored.told[0][1]
    assert mirrored.store.read("metrics.jsonl") == b'{"step": 1}\n{"step": 2}\n'


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(module.Mirror, "flush", module.Mirror.flush.__wrapped__)


def test_a_run_whose_end_cannot_be_stored_says_so(mirrored, object_store, unhurried, impatient):
    mirror = mirrored.open().__enter__()
    (mirrored.folder / "metrics.jsonl").write_text('{"step": 1}\n')
    object_store.stop()
    with pytest.raises(StoreError, match="the run's last state could not be stored"):
        mirror.__exit__(None, None, None)
    object_store.start()
    assert read_lines(mirrored.folder / "metrics.jsonl") == [{"step": 1}]


def test_it_does_not_hide_what_the_run_ended_of(
    mirrored, object_store, unhurried, impatient, caplog
):
    mirror = mirrored.open().__enter__()
    (mirrored.folder / "metrics.jsonl").write_text('{"step": 1}\n')
    object_store.stop()
    assert not mirror.__exit__(ActorError, ActorError("lost"), None)
    object_store.start()
    assert "could not be stored" in caplog.text


def test_a_driver_that_was_taken_for_dead_writes_no_more(mirrored, unhurried):
    mirror = mirrored.open().__enter__()
    (mirrored.folder / "metrics.jsonl").write_text('{"step": 1}\n')
    mirrored.store.write(NAME, b'{"host": "other", "pid": 8, "id": "y"}')
    mirrored.lease._thread.join()
    with pytest.raises(StoreError, match="has taken this run over"):
        mirror.flush()
    with pytest.raises(StoreError, match="has taken this run over"):
        mirror.__exit__(None, None, None)
    assert "metrics.jsonl" not in mirrored.store.sizes()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("s3://nowhere/run", "s3://nowhere/run: there is no such bucket; make it"),
        (
            "s3://runs/run?endpoint_override=http%3A%2F%2F127.0.0.1%3A9&region=here",
            "it cannot be reached; check the network, and AWS_ENDPOINT_URL",
        ),
    ],
)
def test_a_store_that_cannot_be_used_is_one_message_with_its_remedy(object_store, url, message):
    with pytest.raises(ConfigError) as raised:
        open_store(url)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)
