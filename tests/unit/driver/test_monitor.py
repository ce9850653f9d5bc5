"""What is read off a run for Ray's metrics."""

import asyncio
from dataclasses import replace
from types import MappingProxyType

import pytest

from keomni_rl.actors import cluster_metrics as shown
from keomni_rl.actors.pool import ActorPool
from keomni_rl.config.schema import AnsweringConfig, PromptConfig
from keomni_rl.driver.account import Account
from keomni_rl.driver.answering import Answering
from keomni_rl.driver.monitor import monitored, of_account, of_evaluators, of_step
from keomni_rl.types import Prediction

STEP = MappingProxyType(
    {
        "time/step_s": 3.0,
        "time/learner_s": 1.0,
        "time/group_rollout_s": 0.5,
        "publish/bytes": 4096.0,
        "reward/mean": 2.5,
        "reward/std": 0.3,
        "reward/accuracy_mean": 0.75,
        "kl/ref_mean": 0.1,
        "kl/rollout_policy_mean": 1e-7,
        "kl/rollout_policy_max": 1e-6,
        "loss/total": 0.01,
        "learner/grad_norm": 1.5,
        "learner/lr": 1e-6,
        "rollout/completion_tokens_mean": 17.0,
        "rollout/truncated_share": 0.25,
        "staleness/max": 1.0,
    }
)


def test_a_steps_metrics_become_gauges_with_tags():
    assert list(of_step(STEP)) == [
        (shown.STEP_SECONDS, 3.0, {"stage": "step"}),
        (shown.STEP_SECONDS, 1.0, {"stage": "learner"}),
        (shown.GROUP_SECONDS, 0.5, {"stage": "rollout"}),
        (shown.PUBLISHED_BYTES, 4096.0, {}),
        (shown.REWARD, 2.5, {"part": "total"}),
        (shown.REWARD, 0.75, {"part": "accuracy"}),
        (shown.KL, 0.1, {"to": "ref"}),
        (shown.KL, 1e-7, {"to": "rollout_policy"}),
        (shown.LOSS, 0.01, {}),
        (shown.GRAD_NORM, 1.5, {}),
        (shown.COMPLETION_TOKENS, 17.0, {"over": "mean"}),
        (shown.ROLLOUT_RATIO, 0.25, {"of": "truncated"}),
        (shown.STALENESS, 1.0, {"over": "max"}),
    ]


def test_every_sample_has_the_tags_of_its_metric():
    account = Account(started=9, trained=4)
    account.dropped["equal rewards"] = 2
    for metric, _, tags in (*of_step(STEP), *of_account(account)):
        assert tuple(tags) == metric.tags


def test_an_evaluation_shows_how_far_it_is(tmp_path, question):
    async def read():
        pool = ActorPool(lambda _: object(), 3, on_loss=print, hang_s=60.0)
        answering = Answering(
            pool=pool,
            audio=None,
            config=AnsweringConfig(file=tmp_path / "questions.json"),
            prompt=PromptConfig(),
            questions=[question, replace(question, id="q2")],
            folder=tmp_path,
            run_id="run",
            num_evaluators=3,
            answered={
                "q1": Prediction(
                    id="q1", model_output="Car", model_output_raw="Car", finish_reason="stop"
                )
            },
        )
        return list(of_evaluators(pool, answering))

    *shown_first, (metric, seconds, tags) = asyncio.run(read())
    assert shown_first == [
        (shown.ACTORS, 0, {"role": "evaluator", "state": "ready"}),
        (shown.ACTORS, 3, {"role": "evaluator", "state": "starting"}),
        (shown.IN_HAND, 0, {"role": "evaluator"}),
        (shown.RESTARTS, 0, {"role": "evaluator"}),
        (shown.QUESTIONS, 2, {}),
        (shown.ANSWERED, 1, {}),
    ]
    assert (metric, tags) == (shown.DRIVER_SECONDS, {})
    assert seconds > 0


def test_a_fault_of_the_monitor_is_told():
    def read():
        raise KeyError("a mistake")

    async def run():
        async with monitored("run", read):
            await asyncio.sleep(0)

    with pytest.raises(KeyError, match="a mistake"):
        asyncio.run(run())
