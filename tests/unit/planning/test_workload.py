"""Tokens of a step, from the configuration or from what was measured."""

import pytest

from keomni_rl.planning.workload import TEXT_TOKENS, Workload, audio_tokens
from tests.unit.planning.conftest import run_config


@pytest.mark.parametrize(("audio_s", "tokens"), [(1, 25), (10, 250), (30, 750)])
def test_a_second_of_audio_is_25_tokens(audio_s, tokens):
    assert audio_tokens(audio_s) == tokens


def test_the_longest_row_is_the_prompt_once_and_every_completion():
    longest = Workload.longest(run_config(rollout={"group_size": 8, "max_new_tokens": 64}))
    assert longest.prompt_tokens == 750 + TEXT_TOKENS
    assert longest.row_tokens == 750 + TEXT_TOKENS + 8 * 64


def test_no_prompt_is_longer_than_an_engine_takes():
    longest = Workload.longest(run_config(engine={"max_model_len": 500}))
    assert longest.prompt_tokens == 500 - 64


def test_measured_lengths_are_cut_where_the_configuration_cuts():
    longest = Workload.longest(run_config())
    measured = longest.measured(prompt_tokens=120, completion_tokens=1000)
    assert (measured.prompt_tokens, measured.completion_tokens) == (120, 64)


def test_written_answers_are_one_to_a_question():
    supervised = {"kind": "supervised", "beta": 0, "importance_cap": None}
    assert Workload.longest(run_config(algo=supervised)).group_size == 1
