"""What a configuration becomes before actors get it."""

from rich.console import Console

from keomni_rl.config import EvaluateConfig, RunConfig, load_config
from keomni_rl.driver.settle import settle, tell_idle


def test_paths_are_absolute_once_a_configuration_is_settled(tiny_model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["run_dir=r", f"model.path={tiny_model}", "data.train=[train.jsonl]"]
    run = load_config(RunConfig, [*words, "evaluation.file=heldout.jsonl"])
    settled = settle(run)
    assert settled.run_dir == tmp_path / "r"
    assert [source.file for source in settled.data.train] == [tmp_path / "train.jsonl"]
    assert settled.evaluation.file == tmp_path / "heldout.jsonl"
    assert settled.model == run.model
    served = load_config(
        EvaluateConfig, ["run_dir=e", "evaluation.file=q", "endpoint={url: u, model: m}"]
    )
    settled = settle(served)
    assert (settled.run_dir, settled.evaluation.file) == (tmp_path / "e", tmp_path / "q")
    assert settled.model is None
    assert settled.endpoint == served.endpoint


def test_settings_without_any_use_are_told_at_the_start(capsys):
    words = ["run_dir=r", "model.path=m", "data.train=[t.jsonl]", "algo.beta=0"]
    tell_idle(load_config(RunConfig, words), Console())
    assert capsys.readouterr().out == ""
    tell_idle(load_config(RunConfig, [*words, "placement.reference.actors=2"]), Console())
    assert capsys.readouterr().out == (
        "of no use here: placement.reference.actors: 2: algo.beta: 0 needs no reference\n"
    )
