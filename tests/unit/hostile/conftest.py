"""What holds for every hostile file: memory stays bounded, and nothing outside is written."""

import gc
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

KEPT = b"nobody may write this"


@pytest.fixture
def inside(tmp_path) -> Iterator[Path]:
    """The only folder that may change: what lies beside it must be the same afterwards."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept.wav").write_bytes(KEPT)
    folder = tmp_path / "inside"
    folder.mkdir()
    yield folder
    assert set(tmp_path.iterdir()) == {outside, folder}
    assert [(p.name, p.read_bytes()) for p in outside.iterdir()] == [("kept.wav", KEPT)]


@pytest.fixture
def outside(inside) -> Path:
    """A file that the folder's own files must not lead to."""
    return inside.parent / "outside" / "kept.wav"


@pytest.fixture
def memory_below() -> Callable[[int], AbstractContextManager[None]]:
    """Makes a context in which Python and numpy may allocate less than so many bytes at a time."""

    @contextmanager
    def memory_below(num_bytes: int) -> Iterator[None]:
        gc.collect()
        tracemalloc.start()
        try:
            yield
            assert tracemalloc.get_traced_memory()[1] < num_bytes
        finally:
            tracemalloc.stop()

    return memory_below


@pytest.fixture
def tables_elsewhere(tmp_path_factory, monkeypatch) -> None:
    """Tables of questions are not left in the user's cache."""
    import datasets

    cache = tmp_path_factory.getbasetemp() / "tables"
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", cache)
