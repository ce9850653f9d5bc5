import pytest

from keomni_rl.config import RunConfig
from keomni_rl.config.run_dir import inside
from keomni_rl.errors import ConfigError, DataError
from keomni_rl.storage.reading import add_file, load_resumed_at, local_file, local_folder

CONFIG = b"run_dir: elsewhere\nmodel: {path: m}\ndata: {train: [t.jsonl]}\n"


def test_a_run_is_read_without_its_checkpoints(store):
    for name in ("config.yaml", "evaluation/step_000004/summary.json", "checkpoints/step_000004/x"):
        store.write(name, name.encode())
    with local_folder(store.url) as folder:
        found = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
        assert found == {"config.yaml", "evaluation/step_000004/summary.json"}
        assert folder.name == "run"
    assert not folder.exists()


def test_what_lies_inside_a_run_finds_the_runs_configuration(store):
    store.write("config.yaml", CONFIG)
    store.write("evaluation/step_000004/summary.json", b"{}")
    with local_folder(inside(store.url, "evaluation/step_000004")) as folder:
        assert [path.name for path in folder.iterdir()] == ["summary.json"]
        assert (folder.parents[1] / "config.yaml").read_bytes() == CONFIG
        assert folder.parents[1].name == "run"


def test_a_file_is_read_and_one_is_added(store, tmp_path):
    (tmp_path / "report.html").write_text("page")
    place = add_file(store.url, tmp_path / "report.html")
    assert place == f"{store.url}/report.html"
    with local_file(place) as file:
        assert file.read_text() == "page"


def test_nothing_there_is_one_message(store):
    with pytest.raises(DataError, match="no such folder; give the URL of a run"):
        local_folder(store.url).__enter__()
    with pytest.raises(DataError, match="no such file"):
        local_file(inside(store.url, "predictions.json")).__enter__()
    with pytest.raises(ConfigError, match="holds no run to resume"):
        load_resumed_at(RunConfig, store.url, [])


def test_a_run_is_resumed_where_it_is_found(store):
    store.write("config.yaml", CONFIG)
    config = load_resumed_at(RunConfig, store.url, ["train.max_steps=7"])
    assert (config.run_dir, config.train.max_steps) == (store.url, 7)
