import hashlib
import logging

import pytest

from keomni_rl.storage.store import CHUNK_BYTES


def test_a_file_of_several_chunks_arrives_whole(store, tmp_path):
    content = bytes(range(256)) * (CHUNK_BYTES // 256 + 1)
    (tmp_path / "big").write_bytes(content)
    assert store.upload(tmp_path / "big", "a/b") == hashlib.sha256(content).hexdigest()
    assert store.sizes() == {"a/b": len(content)}
    store.download({"a/b": tmp_path / "back" / "b"})
    assert (tmp_path / "back" / "b").read_bytes() == content


def test_a_file_is_replaced_and_taken_away(store):
    assert store.read("x") is None
    for content in (b"one", b"", b"three"):
        store.write("x", content)
        assert store.read("x") == content
    store.delete("x")
    store.delete("x")
    assert store.read("x") is None
    assert store.sizes() == {}


def test_a_small_file_is_one_request(store, caplog):
    with caplog.at_level(logging.INFO, "werkzeug"):
        store.write("metrics.jsonl", b"{}\n")
    asked = [record.getMessage().split('"')[1] for record in caplog.records]
    assert [request.split()[0] for request in asked] == ["PUT"]


def test_what_is_read_of_a_part_of_the_folder_has_whole_names(store):
    store.write("checkpoints/step_000002/state.json", b"{}")
    store.write("config.yaml", b"")
    assert store.sizes("checkpoints") == {"checkpoints/step_000002/state.json": 2}
    assert store.sizes("nowhere") == {}


def test_an_error_that_can_be_mended_is_not_hidden_by_retries(store, tmp_path):
    with pytest.raises(FileNotFoundError):
        store.download({"nothing": tmp_path / "x"})
