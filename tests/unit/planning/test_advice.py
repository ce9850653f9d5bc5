"""One line for each thing that stands against a run, and none without cause."""

import pytest

from keomni_rl.planning.advice import advise
from keomni_rl.planning.memory import run_memory
from tests.unit.planning.conftest import run_config


def advice(shape, gpu_gib=None, **sections):
    config = run_config(**sections)
    return advise(config, shape, run_memory(config, shape, gpu_gib), gpu_gib)


@pytest.mark.parametrize(
    ("sections", "told"),
    [
        ({"placement": {"rollout": {"gpus": 8}}}, "gpus: 8 does not divide the audio tower's 20"),
        ({"placement": {"rollout": {"gpus": 5}}}, "does not divide the language model's 28 heads"),
        ({"placement": {"rollout": {"gpus": 20}}}, "an engine lives within one node"),
        (
            {"engine": {"max_model_len": 600}, "data": {"train": ["t"], "max_audio_s": 30}},
            "leaves 0 tokens for a question's text beside a clip of 30 s (750 tokens)",
        ),
        (
            {
                "train": {"groups_per_step": 10},
                "placement": {"learner": {"actors": 4}},
            },
            "10 over 4 learner ranks",
        ),
        ({"placement": {"rollout": {"actors": 64}}}, "56 actors never have work"),
    ],
)
def test_what_stands_against_a_run_is_one_line(omni_7b, sections, told):
    lines = advice(omni_7b, **sections)
    assert sum(told in line for line in lines) == 1, lines


def test_a_run_that_fits_gets_no_advice(omni_7b):
    placement = {"rollout": {"actors": 2, "gpus": 4}, "learner": {"actors": 8}}
    assert advice(omni_7b, 80, placement=placement) == []


def test_actors_larger_than_their_gpu_are_named(omni_7b):
    lines = advice(omni_7b, 24)
    assert [line.partition(":")[0] for line in lines] == ["learner"]
    lines = advice(omni_7b, 12)
    assert [line.partition(":")[0] for line in lines] == ["learner", "rollout", "reference"]
    assert advice(omni_7b, None) == []


@pytest.mark.parametrize(("pairs", "is_told"), [(1, True), (8, False)])
def test_a_colocated_pair_has_to_fit_together_while_weights_are_sent(omni_7b, pairs, is_told):
    lines = advice(
        omni_7b,
        40,
        learner={"offload_optimizer": True, "zero_stage": 3},
        placement={
            "rollout": {"actors": pairs},
            "learner": {"actors": pairs},
            "colocated": True,
        },
    )
    assert any("placement.colocated" in line for line in lines) == is_told, lines
