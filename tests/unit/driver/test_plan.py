"""What a run says that it would start, on GPUs and without."""

from pathlib import Path

from keomni_rl.config import RunConfig, load_config
from keomni_rl.driver.plan import describe_plan
from keomni_rl.driver.topology import roles

CONFIGS = Path(__file__).parents[3] / "configs"
ON_CPU = [
    f"placement.{role}={{actors: 1, gpus: 0, cpus: 0, threads: {threads}}}"
    for role, threads in (("rollout", 2), ("learner", 2), ("reference", 1), ("evaluator", 1))
]


def planned(*words: str) -> tuple[list[str], dict[str, str]]:
    config = load_config(RunConfig, words)
    return roles(config), dict(describe_plan(config))


def test_supervised_training_with_evaluators_starts_these_alone():
    recipe = str(CONFIGS / "r1_aqa_sft.yaml")
    started, plan = planned(recipe)
    assert started == ["learner", "evaluator"]
    assert not {"rollout actors", "reward", "reference"} & plan.keys()
    assert plan["learner ranks"].startswith("7 x 1 GPU, DeepSpeed ZeRO-3, likelihood of written")
    assert plan["evaluators"] == "1 x 1 GPU, data/mmau/mmau-test-mini.json, every 100 steps"
    assert plan["loop"] == "1200 steps of 32 groups, 64 slots"
    started, plan = planned(recipe, *ON_CPU)
    assert started == ["learner", "evaluator"]
    assert plan["learner ranks"].startswith("1 x CPU, 2 threads, ")
    assert plan["evaluators"].startswith("1 x CPU, 1 thread, ")
    assert planned(recipe, *ON_CPU, "evaluation=null")[0] == ["learner"]


def test_grpo_starts_all_roles_but_a_reference_that_nothing_asks_for():
    recipe = str(CONFIGS / "ke_omni_r_7b.yaml")
    assert planned(recipe)[0] == ["learner", "rollout", "reference", "evaluator", "reward"]
    started, plan = planned(recipe, "algo.beta=0", *ON_CPU)
    assert started == ["learner", "rollout", "evaluator", "reward"]
    assert plan["reference"] == "none, beta 0"
    assert plan["rollout actors"].startswith("1 x CPU, 2 threads, vLLM, 8 completions of 64 tok")
    assert plan["loop"] == "6400 steps of 8 groups, at most 0 versions stale, 8 slots"


def test_files_say_how_much_of_them_is_used_and_how_it_is_asked():
    files = "data.train=[{file: a.jsonl, weight: 3, style: direct}, {file: b.jsonl, weight: 1}]"
    _, plan = planned(str(CONFIGS / "r1_aqa_sft.yaml"), files)
    assert plan["training files"] == "a.jsonl (weight 3, direct), b.jsonl (weight 1)"
