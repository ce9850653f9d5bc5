"""The control plane alone: the real loop, pools and Ray actors around engines that do nothing.

The one place for engines that are none. Actors are real processes and groups have their real size,
so what is measured is what the driver and Ray cost: remote calls, the slots, the step's metrics.
"""

import asyncio
import json
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.result import result
from keomni_rl.types import Completion, FinishReason, Group, GroupKey, Reward

GROUP_SIZE, PROMPT_TOKENS, TOKENS = 8, 304, 64
GROUPS_PER_STEP = 64
NUM_WARM = 20
"""Steps before the clock starts."""
NUM_PROCESSES = 8
"""That do a pool's work: 256 of their own would leave no core to the driver (51 groups a second on
two cores), so more places than that share them."""


class NoRollout:
    """Answers with a group of the usual size at once."""

    def __init__(self) -> None:
        completion = Completion(
            token_ids=np.arange(TOKENS, dtype=np.int32),
            rollout_logprobs=np.zeros(TOKENS, np.float32),
            text="<think> A dog barks twice in the distance. </think><answer> dog </answer>",
            finish_reason=FinishReason.STOP,
            policy_version=(0, 0),
        )
        self._completions = (completion,) * GROUP_SIZE
        self._version = 0

    async def ready(self) -> None:
        """Answer."""

    async def generate(self, key: GroupKey, prompt: Any, _clip: Any, _sampling: Any) -> Group:
        """A group that nobody sampled."""
        return Group(
            key=key,
            prompt=prompt,
            prompt_ids=np.zeros(PROMPT_TOKENS, np.int32),
            completions=self._completions,
        )

    async def shutdown(self) -> None:
        """Nothing to end."""


class NoReward:
    """Rewards without a look."""

    def ready(self) -> None:
        """Answer."""

    def score(self, groups: list[Group]) -> list[tuple[Reward, ...]]:
        """Some rewards."""
        parts = {"accuracy": 1.0, "format": 1.0}
        rewards = tuple(Reward(total=float(n), breakdown=parts) for n in range(GROUP_SIZE))
        return [rewards] * len(groups)

    def shutdown(self) -> None:
        """Nothing to end."""


class NoReference:
    """Log-probabilities without a model."""

    def ready(self) -> None:
        """Answer."""

    def score(self, groups: list[Group], *_clips: Any) -> list[tuple[np.ndarray, ...]]:
        """Zeros."""
        return [(np.zeros(TOKENS, np.float32),) * GROUP_SIZE] * len(groups)

    def shutdown(self) -> None:
        """Nothing to end."""


class NoAudio:
    """Has a clip of every path."""

    def load(self, *paths: str) -> Any:
        """No clips, of 10 s."""
        return tuple(part for path in paths for part in (path, 250))


class NoLearner:
    """One rank that learns nothing."""

    def rendezvous(self) -> tuple[str, int]:
        """Nobody is met."""
        return "127.0.0.1", 0

    def start(self, spec: Any) -> None:
        """Nothing to load."""

    def step(self, *_: Any) -> dict[str, float]:
        """Nothing to report."""
        return {}

    def connect(self, *_: Any) -> None:
        """Nothing to open."""

    def publish(self, *_: Any) -> Any:
        """Nothing to send."""
        from keomni_rl.actors.learner import NOTHING_SENT

        return NOTHING_SENT

    def save(self, folder: Path) -> None:
        """Nothing to write."""


def control(repetitions: int) -> dict[str, Any]:
    """What a group costs the driver with 8 and with 256 rollout actors, of a thousand each.

    The figure is how many groups a second one core would hold with 256 actors, every thread of the
    driver counted, over the goal of 1,000.
    """
    few, many = (measure(number, 1000 * repetitions) for number in (8, 256))
    cost = many["driver_ms_per_group"] / few["driver_ms_per_group"]
    return result(
        "control",
        "1,000 groups a second on one core",
        1 / many["driver_ms_per_group"],
        1.0,
        f"{few['driver_ms_per_group']:.2f} ms of processor time a group with 8 actors, "
        f"{many['driver_ms_per_group']:.2f} with 256 ({cost:.2f} times; of it "
        f"{many['loop_ms_per_group']:.2f} ms in the thread of the loop); "
        f"{many['mib_at_a_tenth']:.0f} MiB after a tenth, {many['mib_at_the_end']:.0f} at the end; "
        f"{many['groups_per_s']:.0f} groups a second here, where actors share the driver's cores",
        runs=[few, many],
    )


def measure(num_actors: int, num_groups: int) -> dict[str, float]:
    """Train on some groups with so many rollout actors; what a group costs.

    Returns:
        Groups a second, processor time of the driver a group (all its threads, Ray's included, and
        that of the event loop alone), and its memory after a tenth of the groups and at the end,
        in MiB.
    """
    import ray

    from keomni_rl.actors.remote import join_ray

    with tempfile.TemporaryDirectory() as folder:
        join_ray(None)
        try:
            return asyncio.run(_control(num_actors, num_groups, Path(folder)))
        finally:
            ray.shutdown()


async def _control(num_actors: int, num_groups: int, root: Path) -> dict[str, float]:
    from keomni_rl.data.prompts import make_prompt
    from keomni_rl.data.stream import PromptStream
    from keomni_rl.driver.account import Account
    from keomni_rl.driver.checkpoints import LocalCheckpoints
    from keomni_rl.driver.journey import travel
    from keomni_rl.driver.loop import Loop
    from keomni_rl.driver.slots import Slots
    from keomni_rl.driver.stopping import Stop
    from keomni_rl.observe.sinks import MetricsWriter

    config = _config(root, num_steps=NUM_WARM + num_groups // GROUPS_PER_STEP)
    run = _run(config, num_actors)
    await asyncio.gather(*(pool.wait_ready() for pool in run.pools.values()))
    driver, ends = psutil.Process(), []

    def on_step(step: int, _: Any) -> None:
        used = sum(driver.cpu_times()[:2])
        memory = driver.memory_info().rss / 2**20
        ends.append((step, time.monotonic(), used, memory, time.thread_time()))

    stream = PromptStream(
        config.data.train, lambda question, _: make_prompt(question, config.prompt), seed=0
    )
    writer = MetricsWriter(config.folder, tensorboard=False)
    slots = Slots(config, partial(travel, run, stream), Account())
    loop = Loop(
        run,
        slots,
        checkpoints=LocalCheckpoints(config.folder / "checkpoints"),
        writer=writer,
        evaluation=None,
        stop=Stop(),
        on_step=on_step,
    )
    await loop.train()
    writer.close()
    await run.close()
    first, last = ends[NUM_WARM - 1], ends[-1]
    groups = (last[0] - first[0]) * GROUPS_PER_STEP
    return {
        "actors": num_actors,
        "groups_per_s": groups / (last[1] - first[1]),
        "driver_ms_per_group": 1000 * (last[2] - first[2]) / groups,
        "loop_ms_per_group": 1000 * (last[4] - first[4]) / groups,
        "mib_at_a_tenth": ends[NUM_WARM + (len(ends) - NUM_WARM) // 10][3],
        "mib_at_the_end": last[3],
    }


def _config(root: Path, num_steps: int) -> Any:
    from keomni_rl.config import RunConfig

    rows = [
        {
            "id": f"{n}",
            "question": f"What is heard in recording {n}?",
            "choices": ["dog", "cat", "siren", "piano"],
            "answer": "dog",
            "audio": f"{n}.wav",
        }
        for n in range(1000)
    ]
    for row in rows:
        (root / row["audio"]).touch()
    file = root / "questions.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    (root / "run").mkdir()
    return RunConfig.model_validate(
        {
            "run_dir": root / "run",
            "model": {"path": root},
            "data": {"train": [file]},
            "rollout": {"group_size": GROUP_SIZE, "max_new_tokens": TOKENS},
            "train": {
                "max_steps": num_steps,
                "groups_per_step": GROUPS_PER_STEP,
                "max_staleness": 7,
                "too_stale": "train",  # nobody tells these engines which weights they have
            },
            "checkpoint": {"every_steps": 10**9},
        }
    )


def _run(config: Any, num_actors: int) -> Any:
    import ray

    from keomni_rl.actors.audio import Clips
    from keomni_rl.actors.learner_group import LearnerGroup
    from keomni_rl.actors.pool import ActorPool
    from keomni_rl.driver.run import Run
    from keomni_rl.driver.scoring import Scoring

    def starter(actor_class: type) -> Callable[[int], Any]:
        return lambda _: ray.remote(actor_class).options(num_cpus=0).remote()

    def pool(actor_class: type, size: int) -> ActorPool[Any]:
        return ActorPool(starter(actor_class), size, on_loss=print, hang_s=600.0)

    processes = [starter(NoRollout)(0) for _ in range(min(num_actors, NUM_PROCESSES))]
    rollouts = ActorPool[Any](
        lambda place: processes[place % len(processes)], num_actors, on_loss=print, hang_s=600.0
    )
    learner = LearnerGroup(starter(NoLearner), 1, config.algo)
    learner._ranks = [starter(NoLearner)(0)]  # it has nothing to load
    return Run(
        config=config,
        id="control",
        learner=learner,
        rollouts=rollouts,
        writer=None,
        evaluators=None,
        audio=Clips([starter(NoAudio)(0)]),
        scoring=Scoring(pool(NoReward, 1), pool(NoReference, 1)),
    )
