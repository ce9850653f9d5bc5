"""Weights on their way from a real learner on a GPU to a real engine on a GPU.

What the engine samples is scored by the learner with the weights that it had sent: the two agree
only if everything that changed has arrived, and nothing else was touched.
"""

from pathlib import Path

import numpy as np
import pytest
import ray

from keomni_rl.actors.engine_actor import RolloutActor
from keomni_rl.actors.learner import LearnerActor
from keomni_rl.actors.remote import join_ray
from keomni_rl.algorithms.advantage import group_advantages
from keomni_rl.algorithms.aggregation import token_weights
from keomni_rl.config.schema import AlgoConfig, LearnerConfig, PromptConfig
from keomni_rl.data.audio import log_mel
from keomni_rl.data.prompts import make_prompt
from keomni_rl.engines.specs import EngineSpec, LearnerSpec, Sampling
from keomni_rl.models.tiny import build_tiny
from keomni_rl.types import Clip, GroupKey, Question, RolloutGroup

HANG_S = 120.0
SAMPLING = Sampling(num_completions=8, max_new_tokens=32, temperature=1.0, seed=5)
QUESTION = Question(
    id="q", question="What sound is heard?", choices=("a car", "a cat"), answer="a cat", audio=""
)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    texts = ["What sound is heard? <think>I hear a cat.</think><answer>a cat</answer>"] * 20
    return build_tiny(tmp_path_factory.mktemp("tiny") / "model", texts, seed=0)


@pytest.fixture(scope="module", autouse=True)
def cluster():
    join_ray(None)
    yield
    ray.shutdown()


class Pair:
    """One learner rank and one engine.

    Args:
        model: folder that both start from.
        backend: of the transfer.
        share: of a GPU for each; with halves both are on the same one.
        learner: what learns.
    """

    def __init__(self, model: Path, backend: str, share: float, learner: LearnerConfig) -> None:
        self.backend = backend
        self.learner = ray.remote(LearnerActor).options(num_gpus=share).remote()
        address, port = ray.get(self.learner.rendezvous.remote())
        spec = LearnerSpec(
            model=model,
            dtype="float32",
            learner=learner,
            algo=AlgoConfig(beta=0.0),
            max_steps=100,
            temperature=1.0,
            world_size=1,
            master_address=address,
            master_port=port,
            on_gpu=True,
            num_threads=1,
        )
        self.engine = (
            ray.remote(RolloutActor)
            .options(num_gpus=share)
            .remote(
                EngineSpec(
                    model=model,
                    dtype="float32",
                    awaits_weights=True,
                    max_model_len=1024,
                    max_num_seqs=32,
                    tensor_parallel=1,
                    gpu_memory_utilization=0.3,
                    kv_cache_gib=1,
                    num_threads=1,
                    backend=backend,
                )
            )
        )
        ray.get([self.learner.start.remote(spec), self.engine.ready.remote()])
        samples = (np.random.default_rng(0).standard_normal(16_000) * 0.1).astype(np.float32)
        self.clip = Clip(samples=samples, mel=log_mel(samples))
        self.num_steps = 0

    def connect(self):
        call = self.learner.connect.remote("rollout", self.backend, [self.engine], 1, HANG_S)
        ray.get(call, timeout=HANG_S)

    def publish(self, version: int):
        return ray.get(self.learner.publish.remote("rollout", version), timeout=HANG_S)

    def mismatch(self, version: int) -> float:
        """Largest difference between the engine's and the learner's log-probabilities.

        The learner takes a step by the way, so that it has new weights afterwards.
        """
        prompt = make_prompt(QUESTION, PromptConfig())
        key = GroupKey("gpu", version)
        group = ray.get(self.engine.generate.remote(key, prompt, self.clip, SAMPLING))
        assert {c.policy_version for c in group.completions} == {(version, version)}
        advantages = group_advantages([float(n % 2) for n in range(len(group.completions))])
        rollout = RolloutGroup(group=group, rewards=(), advantages=advantages)
        weights = token_weights([len(c.token_ids) for c in group.completions], "sequence")
        step = self.learner.step.remote(self.num_steps, [rollout], [weights], self.clip)
        self.num_steps += 1
        return ray.get(step)["kl/rollout_policy_max"]

    def close(self):
        ray.kill(self.learner)
        ray.get(self.engine.shutdown.remote())
        ray.kill(self.engine)


@pytest.mark.parametrize("trained", ["lora", "without_audio_tower"])
@pytest.mark.parametrize(
    ("backend", "share"),
    [
        pytest.param("nccl", 1, marks=pytest.mark.gpu(2)),
        pytest.param("ipc", 0.5, marks=pytest.mark.gpu(1)),
        pytest.param("cpu", 0.5, marks=pytest.mark.gpu(1)),
    ],
)
def test_engine_and_learner_agree_after_whole_and_partial_transfers(model, backend, share, trained):
    config = LearnerConfig(trained=trained, zero_stage=3, lr=1e-2, lr_schedule="constant")
    pair = Pair(model, backend, share, config)
    pair.connect()
    sizes = []
    for version in range(1, 4):
        sizes.append(pair.publish(version).num_bytes)
        assert pair.mismatch(version) < 1e-3
    assert sizes[0] > sizes[1] == sizes[2]
    # A set of engines that has changed is met anew, and is sent everything.
    pair.connect()
    assert pair.publish(4).num_bytes == sizes[0]
    assert pair.mismatch(4) < 1e-3
    pair.close()
