"""The card beside exported weights: hubs read it, its claims are the run's, its commands work."""

import asyncio
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import yaml
from huggingface_hub import ModelCard
from report_folders import right_every, write_questions, write_run
from safetensors.torch import save_file

from keomni_rl.config import RunConfig, load_config
from keomni_rl.config.schema import ModelConfig
from keomni_rl.data.synthetic import generate
from keomni_rl.driver.card_facts import card_facts
from keomni_rl.driver.checkpoints import save_checkpoint
from keomni_rl.driver.export import export_model, local_source
from keomni_rl.evaluation.summary import read_summary
from keomni_rl.models.layout import write_model
from keomni_rl.observe.model_card import License
from keomni_rl.observe.model_card.write import model_card
from keomni_rl.observe.packages import package_versions
from keomni_rl.observe.sinks import write_event
from keomni_rl.storage.manifest import RunState

NUM_TRAIN = 40
EARLY = RunState(step=1, version=1, position=8, ahead=(9, 11))
STEP = RunState(step=6, version=6, position=70, ahead=(72, 75))
LATER = RunState(step=9, version=9, position=72)


def save(run: Path, state: RunState) -> Path:
    async def write_learner(aside: Path) -> None:
        weights = {"model.norm.weight": torch.full((256,), 1.5)}
        save_file(weights, aside / "policy-00000.safetensors")

    return asyncio.run(save_checkpoint(run / "checkpoints", state, write_learner, keep=9))


@pytest.fixture(scope="module")
def base(tiny_model, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("base") / "Tiny Omni"
    write_model(folder, tiny_model, "thinker", [])
    (folder / "README.md").write_text("---\nlicense: other\nlicense_name: tiny-1\n---\n# Tiny\n")
    return folder


@pytest.fixture(scope="module")
def run(base, tmp_path_factory) -> Path:
    """A run that was evaluated after 0 and 6 steps, with checkpoints after 1, 6 and 9."""
    folder = tmp_path_factory.mktemp("runs")
    train = generate(folder / "sounds", num_train=NUM_TRAIN, num_heldout=0, seed=0).train
    words = [f"data.train=[{train}]", f"model.path={base}", "algo.beta=0.5", "train.seed=3"]
    file = write_questions(folder / "questions", 40)
    run = write_run(folder / "run", file, 6, [right_every(2), right_every(5)], *words)
    write_event(run, "start", step=0, position=0, packages={"torch": "1.2.3"})
    for state in (EARLY, STEP, LATER):
        save(run, state)
    return run


def exported(run: Path, state: RunState, out: Path) -> ModelCard:
    checkpoint = run / "checkpoints" / f"step_{state.step:06d}"
    return card_of(export_model(checkpoint, out, license=License(id="apache-2.0")).folder)


def card_of(folder: Path) -> ModelCard:
    return ModelCard.load(folder / "README.md")


def section(card: ModelCard, title: str) -> str:
    return re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", card.text, re.MULTILINE | re.DOTALL)[1]


def block(text: str, kind: str = "") -> str:
    return re.search(rf"```{kind}\n(.*?)\n```", text, re.DOTALL)[1]


@pytest.fixture(scope="module")
def card(run) -> ModelCard:
    return exported(run, STEP, run.parent / "mine")


def test_front_matter_says_what_a_hub_asks(card, run):
    data = card.data
    assert (data.library_name, data.pipeline_tag) == ("transformers", "audio-text-to-text")
    assert (data.license, data.model_name, data.datasets) == ("apache-2.0", "mine", ["synthetic"])
    assert data.base_model is None, "a folder is no model of the hub"
    summary = read_summary(run / "evaluation" / "step_000006" / "summary.json")
    total = next(r for r in data.eval_results if r.dataset_config == "all")
    assert (total.dataset_type, total.metric_args["n"]) == ("custom", 40)
    assert total.metric_value == pytest.approx(100 * summary.accuracy)
    assert total.metric_args["interval95"] == pytest.approx(
        [100 * end for end in summary.interval95], abs=0.01
    )
    assert {r.dataset_config for r in data.eval_results} == {*summary.by_task, "all"}


def test_evaluations_stand_before_and_after_with_intervals(card, run):
    before, after = (
        read_summary(run / "evaluation" / f"step_00000{n}" / "summary.json") for n in (0, 6)
    )
    last = section(card, "Evaluation").strip().splitlines()[-1]
    low, high = before.interval95
    assert last.startswith(
        f"| all | 40 | {100 * before.accuracy:.1f} [{100 * low:.1f}, {100 * high:.1f}] | "
        f"{100 * after.accuracy:.1f} ["
    )
    assert last.endswith(f"| {100 * (after.accuracy - before.accuracy):+.1f} |")
    assert "not MMAU's" in section(card, "Evaluation")


def test_a_question_of_several_epochs_counts_once(card):
    data = section(card, "Training data")
    assert f"| train.jsonl | synthetic | {NUM_TRAIN} |" in data
    assert "Prompts drawn, epochs counted: 72." in data


def test_questions_of_part_of_an_epoch_are_those_that_were_drawn(run, tmp_path):
    card = exported(run, EARLY, tmp_path / "early")
    assert "| train.jsonl | synthetic | 10 |" in card.text


def test_the_recipe_is_the_runs_configuration(card, run, tmp_path):
    written = tmp_path / "recipe.yaml"
    written.write_text(block(section(card, "Recipe"), "yaml"))
    own, told = (load_config(RunConfig, [str(f)]) for f in (run / "config.yaml", written))
    same = {"run_dir", "model", "data", "evaluation"}
    assert told.model_dump(exclude=same) == own.model_dump(exclude=same)
    assert told.algo.beta == 0.5
    assert told.data.train[0].file == Path("train.jsonl")
    commands = block(section(card, "Reproduce")).splitlines()
    assert commands[0] == "keomni-rl train recipe.yaml"
    assert commands[1] == (
        "keomni-rl export runs/run/checkpoints/step_000006 mine --layout thinker"
    )
    assert "| torch | 1.2.3 | " + package_versions()["torch"] in section(card, "Reproduce")


def test_nothing_of_this_machines_folders_is_told(card, run):
    assert str(run.parent) not in str(card)
    assert "/" not in section(card, "Training data")


def test_the_base_is_told_with_its_license(card):
    assert "| base | Tiny Omni (a local folder) |" in card.text
    assert "| license of the base | tiny-1 |" in card.text


def test_what_it_says_of_transformers_works(card, run, monkeypatch, capsys):
    monkeypatch.chdir(run.parent)
    soundfile.write("a.wav", np.random.default_rng(0).standard_normal(16_000) * 0.1, 16_000)
    code = block(section(card, "Use"), "python").replace("max_new_tokens=256", "max_new_tokens=4")
    exec(code, {})
    assert capsys.readouterr().out.strip()


def test_weights_that_were_not_evaluated_claim_no_result(run, tmp_path):
    card = exported(run, LATER, tmp_path / "later")
    assert card.data.eval_results is None
    assert "of policy 9 and were not evaluated themselves" in card.text
    assert "after: policy 6" in card.text


def test_a_version_of_mmau_is_named_with_the_score(card, run):
    """The words for MMAU's own questions, which no test has."""
    facts = card_facts(
        run.parent / "mine",
        ModelConfig(path=Path("Qwen/Qwen2.5-Omni-7B"), revision="0123abc"),
        run.parent / "mine",
        run / "checkpoints" / "step_000006",
        name="mine",
        license=License(id="other", name="mine-1", link="https://example.org/mine"),
    )
    told = facts.provenance
    after = told.after.model_copy(update={"mmau_version": "v05.15.25"})
    card = ModelCard(model_card(replace(facts, provenance=replace(told, after=after))))
    assert "MMAU test-mini, version v05.15.25, by MMAU's own verdict." in card.text
    assert "not MMAU's" not in card.text
    assert {r.dataset_name for r in card.data.eval_results} == {"MMAU test-mini, v05.15.25"}
    assert card.data.base_model == "Qwen/Qwen2.5-Omni-7B"
    assert "| base | Qwen/Qwen2.5-Omni-7B, revision 0123abc |" in card.text
    assert (card.data.license, card.data.license_name) == ("other", "mine-1")
    assert "Training began with Tiny Omni" in card.text
    assert "--layout thinker --base Qwen/Qwen2.5-Omni-7B" in section(card, "Reproduce")


def test_a_bare_model_says_that_its_training_is_unknown(base, tmp_path):
    card = card_of(export_model(base, tmp_path / "copy", layout="full").folder)
    assert "How these weights were trained is not known" in card.text
    for title in ("Evaluation", "Training data", "Recipe"):
        assert "nknown" in section(card, title)
    assert "license" not in card.data.to_dict()
    assert "| license of this model | not stated" in card.text
    assert card.data.eval_results is None
    assert "vllm serve copy" in card.text


def test_questions_that_are_gone_are_not_counted(run, base, tmp_path):
    bare = tmp_path / "run"
    bare.mkdir()
    tree = yaml.safe_load((run / "config.yaml").read_text())
    tree["data"]["train"] = [{"file": str(tmp_path / "gone.jsonl")}]
    (bare / "config.yaml").write_text(yaml.safe_dump(tree))
    card = card_of(export_model(save(bare, STEP), tmp_path / "out").folder)
    assert "could not be counted: gone.jsonl: no such file" in card.text
    assert "Files: gone.jsonl. How many of their questions were used is unknown." in card.text
    assert "no evaluation of these weights was found" in card.text
    (bare / "config.yaml").write_text(yaml.safe_dump({"model": {"path": str(base)}}))
    card = card_of(export_model(bare, tmp_path / "older").folder)
    assert "config.yaml is of another version" in card.text


def test_what_questions_call_their_data_set_stays_a_cell(run, tmp_path):
    odd = tmp_path / "run"
    odd.mkdir()
    rows = (run.parent / "sounds" / "train.jsonl").read_text().splitlines()
    (run.parent / "sounds" / "odd.jsonl").write_text(
        "".join(row.replace('"synthetic"', '"a|b\\n# <script>"') + "\n" for row in rows)
    )
    tree = yaml.safe_load((run / "config.yaml").read_text())
    tree["data"]["train"] = [{"file": str(run.parent / "sounds" / "odd.jsonl")}]
    (odd / "config.yaml").write_text(yaml.safe_dump(tree))
    card = card_of(export_model(save(odd, STEP), tmp_path / "out").folder)
    assert "| odd.jsonl | a\\|b # &lt;script> | 40 |" in card.text
    assert card.data.datasets is None


def test_a_run_at_a_url_gets_the_same_card(run, card, tmp_path, object_store):
    object_store.upload(run, "carded/run")
    with local_source("s3://runs/carded/run/checkpoints/step_000006") as source:
        out = export_model(source, tmp_path / "mine", license=License(id="apache-2.0")).folder
    assert str(card_of(out)) == str(card)
