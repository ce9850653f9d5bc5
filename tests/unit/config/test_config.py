import pickle
from pathlib import Path

import pytest

from keomni_rl import errors, types
from keomni_rl.config import EvaluateConfig, RunConfig, load_config, load_resumed, to_yaml
from keomni_rl.errors import ConfigError
from keomni_rl.storage.reading import load_run

ROOT = Path(__file__).parents[3]
SUPERVISED = ["algo.kind=supervised", "algo.beta=0", "algo.importance_cap=null"]
NEEDED = ["run_dir=runs/x", "model.path=m", "data.train=[t.jsonl]"]


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda p: p.name)
def test_every_shipped_configuration_is_valid(path):
    if path.name == "mmau_eval.yaml":
        load_config(EvaluateConfig, [str(path)])
    else:
        load_config(RunConfig, [str(path), *NEEDED, "evaluation.file=e.json"])


def test_the_later_word_wins_and_the_resolved_configuration_reads_back(tmp_path):
    (tmp_path / "a.yaml").write_text("rollout: {group_size: 4}\ntrain: {max_steps: 7}\n")
    config = load_config(RunConfig, [*NEEDED, str(tmp_path / "a.yaml"), "rollout.group_size=16"])
    assert (config.rollout.group_size, config.train.max_steps) == (16, 7)
    (tmp_path / "resolved.yaml").write_text(to_yaml(config))
    assert load_config(RunConfig, [str(tmp_path / "resolved.yaml")]) == config


def test_a_run_goes_on_where_its_folder_lies_now_with_what_is_changed(tmp_path):
    folder = tmp_path / "2024, moved [1]"
    with pytest.raises(ConfigError, match="holds no run to resume"):
        load_resumed(RunConfig, folder, [])
    folder.mkdir()
    (folder / "config.yaml").write_text(to_yaml(load_config(RunConfig, NEEDED)))
    config = load_resumed(RunConfig, folder, ["train.max_steps=7", "run_dir=elsewhere"])
    assert (config.run_dir, config.train.max_steps) == (folder, 7)


def test_the_same_words_start_a_run_or_are_laid_over_the_one_that_is_there(tmp_path):
    words = [*NEEDED, f"run_dir={tmp_path}", "train.max_steps=7"]
    config, goes_on = load_run(RunConfig, words, resume=None, start_or_resume=True)
    assert (config, goes_on) == (load_config(RunConfig, words), False)
    (tmp_path / "config.yaml").write_text(to_yaml(load_config(RunConfig, [*words, "train.seed=9"])))
    assert load_run(RunConfig, words, resume=None, start_or_resume=False) == (config, False)
    config, goes_on = load_run(RunConfig, words, resume=None, start_or_resume=True)
    assert (config.train.max_steps, config.train.seed, goes_on) == (7, 9, True)
    resumed = load_run(
        RunConfig, ["train.max_steps=8"], resume=str(tmp_path), start_or_resume=False
    )
    assert (resumed[0].train.max_steps, resumed[1]) == (8, True)


def test_defaults_are_the_ke_omni_r_recipe():
    config = load_config(RunConfig, NEEDED)
    assert (config.rollout.group_size, config.rollout.max_new_tokens) == (8, 64)
    assert (config.rollout.temperature, config.algo.beta, config.learner.lr) == (1.0, 0.01, 1e-6)
    assert (config.algo.std_eps, config.algo.divide_by_std) == (1e-4, True)
    assert (config.algo.aggregation, config.algo.old_logprobs) == ("sequence", "learner")
    assert config.reward.weights == {"accuracy": 2.0, "format": 1.0}
    assert (config.train.max_steps, config.train.seed) == (6400, 42)
    assert (config.learner.lr_schedule, config.learner.max_grad_norm) == ("linear", 1.0)
    assert (config.prompt.style, config.prompt.think_max_words) == ("think", 50)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["rollout.groupsize=4"],
            "unknown configuration key 'rollout.groupsize'; did you mean 'rollout.group_size'",
        ),
        (["rollout.group_size=1"], "rollout.group_size: .*greater than or equal to 2, got 1"),
        (["algo.aggregation=constant"], "aggregation_tokens goes with aggregation: constant"),
        (["algo.old_logprobs=rollout"], "set importance_cap: null"),
        (["placement.learner.actors=9"], "a rank needs a group"),
        (["rollout.max_new_tokens=4096"], "leaves no room for"),
        (["placement.learner.gpus=2"], "works on one GPU; raise placement.learner.actors"),
        (["placement.reference.gpus=2"], "works on one GPU; raise placement.reference.actors"),
        ([*SUPERVISED, "rollout.temperature=0.7"], "rollout.temperature: 0.7 would divide the log"),
        (["none.yaml"], "none.yaml: no such configuration file"),
    ],
)
def test_what_cannot_be_is_one_clear_line(words, message):
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(RunConfig, [*NEEDED, *words])
    assert "\n" not in str(caught.value)


def test_what_supervised_training_does_not_sample_needs_no_room():
    load_config(RunConfig, [*NEEDED, *SUPERVISED, "rollout.max_new_tokens=4096"])


def test_a_file_that_is_no_mapping_is_named(tmp_path):
    (tmp_path / "a.yaml").write_text("- 1\n")
    with pytest.raises(ConfigError, match=r"a\.yaml: wanted a mapping"):
        load_config(RunConfig, [str(tmp_path / "a.yaml")])
    (tmp_path / "b.yaml").write_text("a: [")
    with pytest.raises(ConfigError, match=r"b\.yaml: not readable as YAML"):
        load_config(RunConfig, [str(tmp_path / "b.yaml")])


def test_errors_and_carriers_survive_a_process_boundary():
    for name, thing in vars(errors).items():
        if isinstance(thing, type) and issubclass(thing, Exception):
            assert str(pickle.loads(pickle.dumps(thing("what, where")))) == "what, where", name
    key = types.GroupKey("run", 3, 1)
    assert pickle.loads(pickle.dumps(key)) == key
