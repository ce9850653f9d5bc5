"""Settings without any use are named, those of the shipped configurations have all one."""

from pathlib import Path

import pytest

from keomni_rl.config import EvaluateConfig, RunConfig, load_config, to_yaml
from keomni_rl.config.idle import idle_settings

CONFIGS = Path(__file__).parents[3] / "configs"
NEEDED = ("run_dir=runs/x", "model.path=m", "data.train=[t.jsonl]")
EVALUATED = (*NEEDED, "evaluation.file=e.json")
SUPERVISED = (*EVALUATED, "algo.kind=supervised", "algo.beta=0", "algo.importance_cap=null")


def idle(*words: str) -> list[str]:
    return idle_settings(load_config(RunConfig, words))


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda p: p.name)
def test_no_shipped_configuration_says_what_has_no_use(path):
    if path.name == "mmau_eval.yaml":
        assert idle_settings(load_config(EvaluateConfig, [str(path)])) == []
    else:
        needed = EVALUATED if path.name == "demo.yaml" else ()
        assert idle(str(path), *needed) == []


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ("rollout.group_size=4", "reward.compat=true", "placement.rollout.actors=2"),
            "rollout.group_size: 4, reward.compat: True, placement.rollout.actors: 2: supervised "
            "training samples nothing",
        ),
        (("algo.std_eps=1e-3",), "algo.std_eps: 0.001: supervised training samples nothing"),
        (
            ("evaluation=null", "engine.max_num_seqs=8"),
            "engine.max_num_seqs: 8: there is no engine without an evaluation",
        ),
    ],
)
def test_supervised_training_takes_no_samples(words, line):
    assert idle(*SUPERVISED, *words) == [line]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ("prompt.style=no_think", "prompt.think_max_words=30", "prompt.compat=true"),
            "prompt.think_max_words: 30, prompt.compat: True: no prompt asks for a think",
        ),
        (
            ("prompt.think_max_words=0", "prompt.compat=true"),
            "prompt.compat: True: no prompt names a limit of a think",
        ),
        (
            ("evaluation=null", "prompt.compat=true"),
            "prompt.compat: True: it spells prompts of an evaluation, and there is none",
        ),
        (
            ("algo.beta=0", "placement.reference.cpus=2"),
            "placement.reference.cpus: 2.0: algo.beta: 0 needs no reference",
        ),
        (
            ("algo.clip_low=0.1", "algo.clip_high=0.3"),
            "algo.clip_low: 0.1, algo.clip_high: 0.3: nothing is clipped, the ratio is 1 with "
            "algo.old_logprobs: learner",
        ),
        (
            ("algo.divide_by_std=false", "algo.std_eps=1e-3"),
            "algo.std_eps: 0.001: nothing is divided by with algo.divide_by_std: false",
        ),
        (
            ("evaluation=null", "placement.evaluator.actors=2"),
            "placement.evaluator.actors: 2: nothing is evaluated",
        ),
        (("engine.kv_cache_gib=2",), "engine.kv_cache_gib: 2.0: every engine has a GPU"),
        (
            ("placement.learner.threads=2",),
            "placement.learner.threads: 2: it is for actors without a GPU",
        ),
    ],
)
def test_what_a_run_would_not_look_at_is_named_with_the_reason(words, line):
    assert idle(*EVALUATED, *words) == [line]


def test_engines_on_the_cpu_share_no_gpu():
    on_cpu = ("placement.rollout.gpus=0", "placement.evaluator.gpus=0")
    words = (*EVALUATED, *on_cpu, "engine.gpu_memory_utilization=0.5", "engine.kv_cache_gib=2")
    assert idle(*words) == ["engine.gpu_memory_utilization: 0.5: no engine has a GPU"]


def test_a_style_of_one_file_counts():
    words = ("prompt.style=direct", "prompt.think_max_words=30", "data.train=[{file: t.jsonl}]")
    assert idle(*SUPERVISED, *words)
    asked = "data.train=[{file: t.jsonl, style: think}, u.jsonl]"
    assert idle(*SUPERVISED, *words, asked) == []


def test_a_resolved_configuration_has_no_more_to_say(tmp_path):
    config = load_config(RunConfig, [*SUPERVISED, "rollout.group_size=4"])
    (tmp_path / "config.yaml").write_text(to_yaml(config))
    assert idle(str(tmp_path / "config.yaml")) == idle_settings(config) != []


def test_a_served_model_needs_no_engine_here():
    words = ["run_dir=r", "evaluation.file=e.json", "endpoint.url=u", "endpoint.model=m"]
    config = load_config(EvaluateConfig, [*words, "placement.evaluator.actors=2"])
    assert idle_settings(config) == []
    made = ["engine.max_model_len=4096", "placement.evaluator.gpus=0"]
    assert idle_settings(load_config(EvaluateConfig, [*words, *made])) == [
        "engine.max_model_len: 4096, placement.evaluator.gpus: 0: the model is served elsewhere"
    ]
