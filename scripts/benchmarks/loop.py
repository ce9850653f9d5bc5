"""The whole system against a loop that generates inside the trainer, as the seeds' does."""

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.learner import NUM_THREADS, Padded
from benchmarks.process import in_fresh_process
from benchmarks.result import compared
from benchmarks.training import COLD_STEPS, GROUPS_PER_STEP, steps_of, train, words
from benchmarks.workload import GROUP_SIZE, NUM_TOKENS, Work, make_work

GOAL = 3.5
SECONDS = 10.0


def loop(repetitions: int) -> dict[str, Any]:
    """Completions trained on a second, 8 prompts of 10 s by 8 completions of 64 tokens, float32.

    Both sample, compare with a reference, and take an optimizer step, on the same two cores; what
    each does before its first step does not count. A repetition is a step; ours are all taken
    before the other's, for both want all of the machine.
    """
    completions = GROUPS_PER_STEP * GROUP_SIZE
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        train(words(root, root / "run", f"train.max_steps={COLD_STEPS + repetitions}"))
        lines = steps_of(root / "run")
        taken = in_fresh_process(trainer_steps, root / "model", repetitions)
    ours = [completions / line["time/step_s"] for line in lines]
    theirs = [completions / seconds for seconds in taken]
    parts = {
        name: statistics.median(line[f"time/{name}_s"] for line in lines)
        for name in ("wait", "learner", "publish", "rest")
    }
    found = compared("loop", "an in-trainer loop", "completions/s", GOAL, ours, theirs)
    shown = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in parts.items())
    return found | {"details": f"{found['details']}; of a step: {shown}"}


def trainer_steps(model: Path, number: int) -> list[float]:
    """Seconds of some steps of the plain loop, after one over one group; in its own process."""
    policy, reference = Padded(model, "float32"), Padded(model, "float32")
    optimizer = torch.optim.AdamW(policy.network.parameters(), lr=1e-6)
    taken = []
    for step, num_groups in enumerate([1] + [GROUPS_PER_STEP] * number):
        works = make_work(model, [SECONDS] * num_groups, seed=step)
        started = time.monotonic()
        for work in works:
            _sample(policy, work)
        for work in works:
            with torch.inference_mode():
                reference(work)
            (policy.loss(policy(work), work) / len(works)).backward()
        torch.nn.utils.clip_grad_norm_(policy.network.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        taken.append(time.monotonic() - started)
    return taken[1:]


@torch.inference_mode()
def _sample(policy: Padded, work: Work) -> torch.Tensor:
    """One prompt's completions, as TRL and the seeds draw them: of fixed length, so both are."""
    torch.set_num_threads(NUM_THREADS)
    ids = torch.from_numpy(work.prompt_ids.astype(np.int64))[None]
    policy.network.eval()
    found: torch.Tensor = policy.network.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        input_features=work.features,
        feature_attention_mask=torch.ones(1, work.features.shape[2], dtype=torch.long),
        do_sample=True,
        num_return_sequences=GROUP_SIZE,
        max_new_tokens=NUM_TOKENS,
        min_new_tokens=NUM_TOKENS,
        use_cache=True,
    )
    policy.network.train()
    return found
