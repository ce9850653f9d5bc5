"""Every recipe in configs/ against the published hyper-parameters, by value."""

import re
from pathlib import Path

import pytest

from keomni_rl.config import EvaluateConfig, RunConfig, load_config

CONFIGS = Path(__file__).parents[3] / "configs"
RECIPES = sorted(
    p.name for p in CONFIGS.glob("*.yaml") if p.name not in ("demo.yaml", "mmau_eval.yaml")
)

OPTIMIZER = {  # what both seeds take from the trainers' defaults
    "learner.lr": 1e-6,
    "learner.lr_schedule": "linear",
    "learner.warmup_steps": 0,
    "learner.betas": (0.9, 0.999),
    "learner.eps": 1e-8,
    "learner.weight_decay": 0.0,
    "learner.max_grad_norm": 1.0,
    "learner.trained": "all",
    "learner.zero_stage": 3,
    "learner.gradient_checkpointing": False,
    "model.dtype": "bfloat16",
}
OBJECTIVE = {
    "algo.kind": "grpo",
    "algo.divide_by_std": True,
    "algo.std_eps": 1e-4,
    "algo.old_logprobs": "learner",
    "algo.aggregation": "sequence",
    "rollout.group_size": 8,
    "rollout.temperature": 1.0,
    "train.seed": 42,
    "train.max_staleness": 0,
    "checkpoint.every_steps": 100,
    "evaluation.every_steps": 100,
    "evaluation.max_new_tokens": 256,
}
KE_OMNI_R = (
    OPTIMIZER
    | OBJECTIVE
    | {
        "algo.beta": 0.01,
        "rollout.max_new_tokens": 64,
        "reward.weights": {"accuracy": 2.0, "format": 1.0},
        "train.max_steps": 6400,
        "train.groups_per_step": 8,
        "prompt.style": "think",
        "prompt.think_max_words": 50,
    }
)
R1_AQA = (
    OPTIMIZER
    | OBJECTIVE
    | {
        "model.path": Path("Qwen/Qwen2-Audio-7B-Instruct"),
        "algo.beta": 0.04,
        "rollout.max_new_tokens": 256,
        "reward.weights": {"accuracy": 1.0, "format": 1.0},
        "train.max_steps": 1000,
        "train.groups_per_step": 16,
        "prompt.style": "answer",
        "learner.offload_optimizer": True,
    }
)
PUBLISHED = {
    "ke_omni_r_7b.yaml": KE_OMNI_R | {"model.path": Path("Qwen/Qwen2.5-Omni-7B")},
    "ke_omni_r_3b.yaml": KE_OMNI_R | {"model.path": Path("Qwen/Qwen2.5-Omni-3B")},
    "r1_aqa.yaml": R1_AQA,
    "r1_aqa_sft.yaml": {
        "algo.kind": "supervised",
        "prompt.style": "direct",
        "learner.trained": "all",
    },
    "r1_aqa_sft_lora.yaml": {
        "algo.kind": "supervised",
        "prompt.style": "direct",
        "learner.trained": "lora",
    },
    "audiomcq_7b.yaml": {
        "algo.beta": 0.01,
        "learner.lr": 1e-6,
        "rollout.group_size": 8,
        "train.groups_per_step": 8,
        "reward.weights": {"accuracy": 0.8, "format": 0.2},
    },
}


def test_every_recipe_is_held_against_something():
    assert set(RECIPES) == set(PUBLISHED)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_has_the_published_values(name):
    config = load_config(RunConfig, [str(CONFIGS / name)])
    for key, value in PUBLISHED[name].items():
        found = config
        for part in key.split("."):
            found = getattr(found, part)
        assert found == value, key


@pytest.mark.parametrize("name", ["ke_omni_r_7b.yaml", "ke_omni_r_3b.yaml"])
def test_ke_omni_r_takes_five_thousand_of_each_set(name):
    sources = load_config(RunConfig, [str(CONFIGS / name)]).data.train
    assert [(s.file.parts[1], s.count) for s in sources] == [("avqa", 5000), ("musicbench", 5000)]


@pytest.mark.parametrize("name", RECIPES)
def test_every_value_says_where_it_comes_from(name):
    text = (CONFIGS / name).read_text()
    assert text.startswith("#")
    settings = text.partition("placement:")[0].splitlines()
    values = [line for line in settings if re.match(r"  [a-z_]+: \S", line)]
    assert len(values) > 12
    silent = [v for v in values if "#" not in v and not v.startswith("  file:")]
    assert silent == []


@pytest.mark.parametrize(
    ("variant", "key", "value"),
    [
        ("variants/no_think.yaml", "prompt.style", "no_think"),
        ("variants/beta_0.yaml", "algo.beta", 0.0),
        ("variants/compat.yaml", "reward.compat", True),
        ("placement/one_node_8_gpus.yaml", "placement.learner.actors", 4),
        ("placement/two_nodes_16_gpus.yaml", "placement.learner.actors", 8),
    ],
)
def test_a_variant_changes_a_recipe(variant, key, value):
    config = load_config(RunConfig, [str(CONFIGS / "ke_omni_r_7b.yaml"), str(CONFIGS / variant)])
    section, name = key.rsplit(".", 1)
    found = config
    for part in section.split("."):
        found = getattr(found, part)
    assert getattr(found, name) == value


def test_avqa_only_leaves_the_other_set_out():
    words = [str(CONFIGS / n) for n in ("ke_omni_r_7b.yaml", "variants/avqa_only.yaml")]
    assert [s.file.parts[1] for s in load_config(RunConfig, words).data.train] == ["avqa"]


@pytest.mark.parametrize("name", ["one_node_8_gpus", "two_nodes_16_gpus"])
def test_a_placement_takes_the_gpus_that_it_is_called_for(name):
    words = [str(CONFIGS / n) for n in ("ke_omni_r_7b.yaml", f"placement/{name}.yaml")]
    place = load_config(RunConfig, words).placement
    roles = (place.rollout, place.learner, place.reference, place.evaluator)
    assert sum(role.actors * role.gpus for role in roles) == int(name.split("_")[2])


def test_evaluation_is_that_of_the_seeds():
    config = load_config(EvaluateConfig, [str(CONFIGS / "mmau_eval.yaml")])
    assert config.evaluation.max_new_tokens == 256
    assert (config.prompt.style, config.prompt.think_max_words) == ("think", 50)
    assert config.evaluation.temperature == 0
