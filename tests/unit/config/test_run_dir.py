from pathlib import Path

import pytest

from keomni_rl.config import RunConfig, load_config, to_yaml
from keomni_rl.config.run_dir import located, working_folder
from keomni_rl.errors import ConfigError

NEEDED = ["model.path=m", "data.train=[t.jsonl]"]


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ("runs/a", Path("runs/a")),
        ("file:///disk/runs%20of/a", Path("/disk/runs of/a")),
        ("s3://bucket/team/a/", "s3://bucket/team/a"),
        ("gs://bucket/a", "gs://bucket/a"),
        (
            "s3://bucket/a?endpoint_override=http%3A%2F%2F10.0.0.1%3A9000&region=here",
            "s3://bucket/a?endpoint_override=http%3A%2F%2F10.0.0.1%3A9000&region=here",
        ),
    ],
)
def test_a_place_is_a_path_or_a_url_and_survives_the_configuration_file(tmp_path, given, place):
    config = load_config(RunConfig, [f"run_dir={given}", *NEEDED])
    assert config.run_dir == place
    (tmp_path / "config.yaml").write_text(to_yaml(config))
    assert load_config(RunConfig, [str(tmp_path / "config.yaml")]).run_dir == place


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("http://host/run", "no URL that a run's folder can be at; wanted s3://BUCKET/FOLDER"),
        ("S4://bucket/run", "wanted s3://BUCKET/FOLDER"),
        ("file://host/run", "wanted s3://BUCKET/FOLDER, gs://BUCKET/FOLDER, file:///FOLDER"),
        ("s3://bucket", "wanted s3://BUCKET/FOLDER"),
        ("s3:///run", "wanted s3://BUCKET/FOLDER"),
        ("s3://bucket/a/../b", "wanted s3://BUCKET/FOLDER"),
        ("s3://bucket/a//b", "wanted s3://BUCKET/FOLDER"),
        ("s3://bucket/a#b", "wanted s3://BUCKET/FOLDER"),
        ("s3://buc]ket/run", "no URL that can be read; wanted s3://BUCKET/FOLDER"),
        ("s3://bucket/a?endpoint=x", "unknown option 'endpoint'; known are endpoint_override,"),
        ("3", None),
    ],
)
def test_what_is_no_place_is_one_message(given, message):
    if message is None:
        assert located(given) == Path(given)
        return
    with pytest.raises(ConfigError, match=r"^run_dir: ") as raised:
        load_config(RunConfig, [f"run_dir={given}", *NEEDED])
    assert message in str(raised.value)


@pytest.mark.parametrize(
    "given",
    [
        "s3://me:hunter2@bucket/run",
        "s3://bucket/run?endpoint_override=http%3A%2F%2Fme%3Ahunter2%40host",
        "s3://me%3Ahunter2%40bucket/run",
    ],
)
def test_a_secret_in_a_url_is_refused_and_not_repeated(given):
    with pytest.raises(ConfigError, match="AWS_ACCESS_KEY_ID") as raised:
        load_config(RunConfig, [f"run_dir={given}", *NEEDED])
    assert "hunter2" not in str(raised.value)


def test_a_secret_in_what_is_no_url_is_not_repeated_either():
    with pytest.raises(ConfigError, match="no URL that can be read") as raised:
        located("s3://me:hunter2@buc]ket/run")
    assert "hunter2" not in str(raised.value)


def test_each_url_has_a_working_folder_of_its_own(monkeypatch, tmp_path):
    monkeypatch.setenv("KEOMNI_RL_WORK_DIR", str(tmp_path))
    urls = ["s3://a/run", "gs://a/run", "s3://b/run", "s3://a/run?region=here"]
    folders = {working_folder(url) for url in urls}
    assert len(folders) == len(urls)
    assert {folder.name for folder in folders} == {"run"}
    assert all(folder.is_relative_to(tmp_path) for folder in folders)
