"""``train --check`` of the published recipes, on a machine with neither their data nor a GPU."""

from pathlib import Path

import pytest

from keomni_rl.config import RunConfig, load_config
from keomni_rl.driver.check import check_run

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "ke_omni_r_7b.yaml",
            {
                "model": "Qwen/Qwen2.5-Omni-7B (bfloat16)",
                "what learns": "everything",
                "training files": "5000 of data/avqa/train.jsonl, 5000 of data/musicbench/train.jsonl",
                "learner ranks": "4 x 1 GPU, DeepSpeed ZeRO-3, GRPO, rate 1e-06",
                "reward": "2 x accuracy, 1 x format",
                "reference": "1 x 1 GPU, beta 0.01",
                "weights": "not here yet; the run fetches them from the hub",
            },
        ),
        (
            "r1_aqa_sft_lora.yaml",
            {
                "what learns": "adapters of rank 8 (alpha 32) on q_proj, k_proj, v_proj, o_proj; "
                "engines serve the merged weights",
                "prompt": "direct",
            },
        ),
    ],
)
def test_a_recipe_prints_its_plan_and_all_that_it_lacks_here(name, said, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    check = check_run(load_config(RunConfig, [str(CONFIGS / name)]))
    plan = dict(check.plan)
    assert {key: plan[key] for key in said} == said
    problems = "\n".join(check.problems)
    assert "no such file of questions" in problems
    assert "mmau-test-mini.json: no such file" in problems
    assert "learner 0 asks for 1 GPU and 1 CPU on one node, and the cluster has 1 nodes" in problems
    assert len(check.problems) == 3
