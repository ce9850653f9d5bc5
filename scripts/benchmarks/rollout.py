"""Tokens a second through audio actor, pool, rollout actor and driver, against vLLM alone."""

import asyncio
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.result import compared
from benchmarks.training import words

GOAL = 0.97
NUM_GROUPS = 16


def rollout(repetitions: int) -> dict[str, Any]:
    """Groups of 8 completions of 64 tokens on clips of 10 s: ours against ``LLM.generate``.

    Both decode the clips, use the same engine settings, seeds and both cores, in turn; ours also
    computes rewards and advantages. Every repetition has clips of its own.
    """
    import ray

    from keomni_rl.actors.remote import join_ray

    with tempfile.TemporaryDirectory() as folder:
        join_ray(None)
        try:
            ours, theirs = asyncio.run(_both(Path(folder), repetitions + 1))
        finally:
            ray.shutdown()
    return compared("rollout", "bare LLM.generate", "tokens/s", GOAL, ours, theirs)


async def _both(root: Path, rounds: int) -> tuple[list[float], list[float]]:
    from keomni_rl.actors.remote import start_actor
    from keomni_rl.config import RunConfig, load_config
    from keomni_rl.data.prompts import make_prompt
    from keomni_rl.data.stream import PromptStream
    from keomni_rl.driver.journey import travel
    from keomni_rl.driver.settle import settle
    from keomni_rl.driver.topology import start_run
    from keomni_rl.storage.manifest import RunState

    config = settle(load_config(RunConfig, words(root, root / "run", "algo.beta=0")))
    config.folder.mkdir()
    run = await start_run(config, RunState(), None)
    bare = start_actor(Bare, config.placement.rollout, config, ray_options={})
    await bare.ready.remote()
    stream = PromptStream(
        config.data.train, lambda question, _: make_prompt(question, config.prompt), seed=0
    )
    ours, theirs = [], []
    for number in range(rounds):
        positions = range(number * NUM_GROUPS, (number + 1) * NUM_GROUPS)
        prompts = [stream[position] for position in positions]
        started = time.monotonic()
        arrived = await asyncio.gather(*(travel(run, stream, position) for position in positions))
        taken = time.monotonic() - started
        tokens = sum(len(c.token_ids) for a in arrived for c in a.rollout.group.completions)
        ours.append(tokens / taken)
        theirs.append(await bare.run.remote(prompts, number))
    await run.close()
    return ours[1:], theirs[1:]


class Bare:
    """What a person would write with vLLM alone."""

    def __init__(self, config: Any) -> None:
        os.environ |= {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
        os.environ["VLLM_LOGGING_LEVEL"] = "ERROR"
        from vllm import LLM

        from keomni_rl.driver.export import export_model
        from keomni_rl.models.family import find_family

        self._config = config
        folder = Path(tempfile.mkdtemp()) / "full"
        export_model(config.model.path, folder, layout="full")
        self._family = find_family(folder)
        self._processor = self._family.load_processor(folder)
        self._llm = LLM(
            model=str(folder),
            dtype=config.model.dtype,
            max_model_len=config.engine.max_model_len,
            max_num_seqs=config.engine.max_num_seqs,
            enforce_eager=True,
            enable_chunked_prefill=False,
            max_num_batched_tokens=8192,
            limit_mm_per_prompt={"audio": 1, "image": 0, "video": 0},
            logprobs_mode="processed_logprobs",
            disable_log_stats=True,
        )

    def ready(self) -> None:
        """Answer once the engine is up."""

    def run(self, prompts: Sequence[Any], number: int) -> float:
        """Tokens a second over all groups."""
        import soundfile
        from vllm import SamplingParams

        started = time.monotonic()
        rollout = self._config.rollout
        forbidden = dict.fromkeys(self._family.forbidden_tokens(self._processor), -100.0)
        requests, sampling = [], []
        for index, prompt in enumerate(prompts):
            samples, rate_hz = soundfile.read(prompt.question.audio, dtype="float32")
            requests.append(
                {
                    "prompt": self._family.chat_text(self._processor, prompt.text),
                    "multi_modal_data": {"audio": [(samples, rate_hz)]},
                }
            )
            sampling.append(
                SamplingParams(
                    n=rollout.group_size,
                    temperature=rollout.temperature,
                    max_tokens=rollout.max_new_tokens,
                    seed=1000 * number + index,
                    logprobs=0,
                    logit_bias=forbidden,
                )
            )
        answers = self._llm.generate(requests, sampling, use_tqdm=False)
        tokens = sum(len(output.token_ids) for answer in answers for output in answer.outputs)
        return tokens / (time.monotonic() - started)
