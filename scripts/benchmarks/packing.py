"""What packing costs: tokens that go through the network over tokens that groups have."""

import statistics
from typing import Any

import numpy as np

from benchmarks.result import result
from benchmarks.workload import GROUP_SIZE, NUM_TOKENS

GOAL = 1.05
NUM_RANKS = 2
GROUPS_PER_STEP = 16
STEPS_OF_A_REPETITION = 200
TEXT_TOKENS = 50
"""Of a prompt, beside the audio's."""


def packing(repetitions: int) -> dict[str, Any]:
    """Steps of clips of 1 to 30 s and completions of 20 to 64 tokens on two learner ranks.

    Every pass counts that a rank makes, padding and idle ones included; a rank is idle for the
    share by which it computes less than the other. Packing has no randomness of its own: the steps
    are drawn, and the mean over them counts.
    """
    from keomni_rl.actors.learner_group import spread
    from keomni_rl.config.schema import LearnerConfig
    from keomni_rl.engines.rows import split_rows

    limit = LearnerConfig().micro_batch_tokens
    rng = np.random.default_rng(0)
    overheads, idle = [], []
    for _ in range(repetitions * STEPS_OF_A_REPETITION):
        prompts = TEXT_TOKENS + np.round(25 * rng.uniform(1, 30, GROUPS_PER_STEP)).astype(int)
        answers = rng.integers(20, NUM_TOKENS + 1, (GROUPS_PER_STEP, GROUP_SIZE)).sum(axis=1)
        tokens = (prompts + answers).tolist()
        computed = []
        shares = spread(tokens, NUM_RANKS)
        rows = [[tokens[i] for i in share] for share in shares]
        passes = max(len(split_rows(of_rank, limit)) for of_rank in rows)
        for of_rank in rows:
            parts = split_rows(of_rank, limit, at_least=passes)
            widths = [max(of_rank[i] for i in part) * len(part) for part in parts]
            computed.append(sum(widths) + widths[-1] * (passes - len(parts)))
        overheads.append(sum(computed) / sum(tokens))
        idle.append(1 - min(computed) / max(computed))
    overhead, idle_mean = statistics.mean(overheads), statistics.mean(idle)
    return result(
        "packing",
        "the goal's tokens over those computed",
        min(GOAL / overhead, 1.05 - idle_mean),
        1.0,
        f"{overhead:.3f} tokens computed for one needed (goal {GOAL}), {max(overheads):.3f} in the "
        f"worst step; a rank idle for {idle_mean:.1%} (goal 5%), {max(idle):.1%} in the worst step",
        overheads=overheads,
        idle=idle,
    )
