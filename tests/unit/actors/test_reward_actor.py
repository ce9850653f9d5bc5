import os

import numpy as np
import psutil
import pytest
import ray

from keomni_rl.actors.remote import join_ray, start_helper
from keomni_rl.actors.reward import RewardActor
from keomni_rl.errors import RewardError
from keomni_rl.types import Completion, FinishReason, Group, GroupKey, Prompt, Question

ENDLESS = "<answer> 9^9^9^9 </answer>"
MINE = """
import os

def folder(text, prompt):
    return float(os.getpid())

def refuse(text, prompt):
    raise ValueError(text)
"""


def group(*texts: str, solution: str = "cat 3") -> Group:
    question = Question(
        id="q1", question="?", choices=(solution, "Bus"), answer=solution, audio="a.wav"
    )
    empty = np.zeros(0, np.int32)
    completions = tuple(
        Completion(
            token_ids=empty,
            rollout_logprobs=empty.astype(np.float32),
            text=text,
            finish_reason=FinishReason.STOP,
            policy_version=(0, 0),
        )
        for text in texts
    )
    return Group(
        key=GroupKey(run="r", index=0),
        prompt=Prompt(question=question, text=""),
        prompt_ids=empty,
        completions=completions,
    )


def test_it_scores_a_group_in_its_order():
    actor = RewardActor({"accuracy": 2.0, "format": 1.0}, think=False, think_max_words=0)
    rewards = actor.score(group("<answer>Bus</answer>", "cat 3", "<answer> cat 3 </answer>"))
    assert [reward.total for reward in rewards] == [1.0, 2.0, 3.0]
    assert actor.metrics() == {}


@pytest.fixture(scope="module")
def cluster():
    join_ray(None)
    yield
    ray.shutdown()


@pytest.mark.ray
def test_mathematics_inside_an_actor(cluster):
    """It answers, is cut off, answers again, and leaves no process behind."""
    actor = start_helper(
        RewardActor, {"accuracy": 1.0}, think=False, think_max_words=0, compat=True
    )

    def score(*texts: str) -> list[float]:
        return [reward.total for reward in ray.get(actor.score.remote(group(*texts)))]

    assert score("<answer>dog 3</answer>", "<answer>dog 4</answer>", "cat 3") == [1, 0, 1]
    pid = ray.get(actor.__ray_call__.remote(lambda _: os.getpid()))
    children = psutil.Process(pid).children()
    assert children
    assert score(ENDLESS, "<answer>dog 3</answer>") == [0, 1]
    assert score("<answer>3 dogs</answer>", " 3 dogs") == [0, 1]
    assert ray.get(actor.metrics.remote()) == {
        "reward/math_verify_timeouts": 1.0,
        "reward/math_verify_crashes": 0.0,
        "reward/math_verify_errors": 0.0,
    }
    ray.kill(actor)
    _, alive = psutil.wait_procs(children, timeout=60)
    assert not alive


@pytest.mark.ray
def test_a_reward_of_the_users_working_directory_inside_an_actor(cluster, tmp_path):
    (tmp_path / "rewards_for_an_actor.py").write_text(MINE)
    names = ["rewards_for_an_actor:folder", "rewards_for_an_actor.py:folder"]
    actor = start_helper(
        RewardActor, dict.fromkeys(names, 1.0), think=True, think_max_words=50, folder=tmp_path
    )
    (reward,) = ray.get(actor.score.remote(group("Car")))
    assert reward.breakdown[names[0]] == reward.breakdown[names[1]] != os.getpid()


@pytest.mark.ray
def test_a_reward_that_raises_inside_an_actor_is_a_reward_error_here(cluster, tmp_path):
    (tmp_path / "rewards_that_refuse.py").write_text(MINE)
    name = "rewards_that_refuse:refuse"
    actor = start_helper(RewardActor, {name: 1.0}, think=True, think_max_words=50, folder=tmp_path)
    with pytest.raises(RewardError, match=r"refuse' raised ValueError\('Car'\) on question 'q1'"):
        ray.get(actor.score.remote(group("Car")))
