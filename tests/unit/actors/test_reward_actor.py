import os
import time

import numpy as np
import psutil
import pytest
import ray

from keomni_rl.actors.remote import join_ray, start_helper
from keomni_rl.actors.reward import RewardActor
from keomni_rl.config.placement import HelperPlacement
from keomni_rl.errors import ConfigError, RewardError
from keomni_rl.types import Completion, FinishReason, Group, GroupKey, Prompt, Question

ENDLESS = "<answer> 9^9^9^9 </answer>"
MINE = """
import os, re

def folder(text, prompt):
    return float(os.getpid())

def refuse(text, prompt):
    raise ValueError(text)

def regex(text, prompt):
    open(text, "x").close()
    return bool(re.match(r"(a+)+$", "a" * 40 + "b"))

def crash(text, prompt):
    os._exit(1)
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
    weights = {"accuracy": 2.0, "format": 1.0}
    actor = RewardActor(weights, think=False, think_max_words=0, timeout_s=30.0)
    actor.ready()
    [rewards] = actor.score([group("<answer>Bus</answer>", "cat 3", "<answer> cat 3 </answer>")])
    assert [reward.total for reward in rewards] == [1.0, 2.0, 3.0]


@pytest.fixture(scope="module")
def cluster():
    join_ray(None)
    yield
    ray.shutdown()


@pytest.fixture
def start(cluster, tmp_path):
    """Starts actors with rewards of the user's own."""
    started = []

    def start(*names: str, timeout_s: float = 30.0):
        (tmp_path / "rewards_for_an_actor.py").write_text(MINE)
        weights = dict.fromkeys((f"rewards_for_an_actor{name}" for name in names), 1.0)
        settings = {"think": True, "think_max_words": 50, "folder": tmp_path}
        started.append(
            start_helper(RewardActor, HelperPlacement(), weights, timeout_s=timeout_s, **settings)
        )
        return started[-1]

    yield start
    for actor in started:
        ray.kill(actor)


def process_of(actor) -> psutil.Process:
    return psutil.Process(ray.get(actor.__ray_call__.remote(lambda _: os.getpid())))


@pytest.mark.ray
def test_mathematics_inside_an_actor(cluster):
    """It answers, is cut off, answers again, and leaves no process behind."""
    settings = {"think": False, "think_max_words": 0, "timeout_s": 30.0, "compat": True}
    actor = start_helper(RewardActor, HelperPlacement(), {"accuracy": 1.0}, **settings)

    def score(*texts: str) -> list[float]:
        return [reward.total for reward in ray.get(actor.score.remote([group(*texts)]))[0]]

    assert score("<answer>dog 3</answer>", "<answer>dog 4</answer>", "cat 3") == [1, 0, 1]
    children = process_of(actor).children()
    assert children
    assert score(ENDLESS, "<answer>dog 3</answer>") == [0, 1]
    assert score("<answer>3 dogs</answer>", " 3 dogs") == [0, 1]
    ray.kill(actor)
    _, alive = psutil.wait_procs(children, timeout=60)
    assert not alive


@pytest.mark.ray
def test_rewards_of_the_users_working_directory_share_a_process_of_the_actor(start):
    actor = start(":folder", ".py:folder")
    ray.get(actor.ready.remote())
    [(reward,)] = ray.get(actor.score.remote([group("Car")]))
    pid, same = reward.breakdown.values()
    process = process_of(actor)
    assert pid == same
    assert pid in [child.pid for child in process.children()]
    ray.get(actor.shutdown.remote())
    assert pid not in [child.pid for child in process.children()]


@pytest.mark.ray
def test_a_reward_that_raises_inside_an_actor_is_a_reward_error_here(start):
    with pytest.raises(RewardError, match=r"refuse' raised ValueError\('Car'\) on question 'q1'"):
        ray.get(start(":refuse").score.remote([group("Car")]))


@pytest.mark.ray
def test_a_reward_that_crashes_leaves_its_actor_alive(start):
    actor = start(":crash", timeout_s=60.0)
    with pytest.raises(RewardError, match=r"ended its process .* on question 'q1', comp.* 'Car'"):
        ray.get(actor.score.remote([group("Car")]))
    ray.get(actor.ready.remote())


@pytest.mark.ray
def test_a_reward_that_cannot_be_found_is_a_configuration_error_here(start):
    with pytest.raises(ConfigError, match="has no 'foldr'; did you mean 'folder'"):
        ray.get(start(":foldr").ready.remote())


@pytest.mark.ray
@pytest.mark.parametrize("busy", [True, False])
def test_an_actor_that_is_killed_leaves_no_process_behind(busy, start, tmp_path):
    actor = start(":regex", timeout_s=5.0)
    ray.get(actor.ready.remote())
    process = process_of(actor)
    children = process.children()
    assert children
    if busy:
        actor.score.remote([group(str(tmp_path / "begun"))])
        while not (tmp_path / "begun").exists():
            time.sleep(0.01)
    process.kill()
    _, alive = psutil.wait_procs(children, timeout=60)
    assert not alive
