"""The learner's and the reference's passes over a group: shared-prefix rows against padded ones.

Padded is what trainers do: one row for each completion, each with the prompt and its audio, through
the network's own forward, and the same loss. The optimizer, the same for all, is left out.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.process import in_fresh_process
from benchmarks.result import result
from benchmarks.workload import Work, build_model, make_work

NUM_THREADS = 2
SECONDS = (10.0, 30.0)
DTYPES = ("float32", "bfloat16")
GOALS = {10.0: 3.3, 30.0: 4.6}
"""Times faster, by length of the clip."""
EXACT = 1e-4
"""Between log-probabilities of both ways, in float32."""


def learner(repetitions: int) -> dict[str, Any]:
    """Forward and backward of one group: the faster of the padded ways over ours."""
    return _against_goals("learner", measure_learner, repetitions)


def reference(repetitions: int) -> dict[str, Any]:
    """Log-probabilities of one group, forward only."""
    return _against_goals("reference", measure_reference, repetitions)


def _against_goals(
    name: str, measure: Callable[[Path, str, int], dict[float, dict[str, Any]]], repetitions: int
) -> dict[str, Any]:
    cases = []
    with tempfile.TemporaryDirectory() as folder:
        model = build_model(Path(folder) / "model")
        for dtype in DTYPES:
            found = in_fresh_process(measure, model, dtype, repetitions)
            cases += [{"seconds": s, "dtype": dtype, **case} for s, case in found.items()]
    for case in cases:
        times = case["times_s"]
        medians = {way: statistics.median(taken) for way, taken in times.items()}
        case["faster"] = min(m for way, m in medians.items() if way != "ours") / medians["ours"]
        case["share_of_goal"] = case["faster"] / GOALS[case["seconds"]]
    details = "; ".join(
        f"{case['seconds']:.0f} s {case['dtype']} {case['faster']:.2f} times "
        f"({case['fewer_tokens']:.1f} times fewer tokens, goal {GOALS[case['seconds']]})"
        for case in cases
    )
    worst = min(case["share_of_goal"] for case in cases)
    return result(name, "the goal, padded rows over ours", worst, 1.0, details, cases=cases)


def measure_learner(model: Path, dtype: str, repetitions: int) -> dict[float, dict[str, Any]]:
    """Seconds by length of clip and way, in turn; runs in a process of its own."""
    import deepspeed

    from keomni_rl.config.schema import AlgoConfig, LearnerConfig
    from keomni_rl.engines.learner import LearnerEngine, deepspeed_config
    from keomni_rl.engines.network import open_door
    from keomni_rl.engines.specs import LearnerSpec

    door = open_door("127.0.0.1")
    spec = LearnerSpec(
        model=model,
        dtype=dtype,
        learner=LearnerConfig(lr=1e-6, zero_stage=2, gradient_checkpointing=False),
        algo=AlgoConfig(beta=0.01),
        max_steps=10**6,
        temperature=1.0,
        world_size=1,
        master_port=door.getsockname()[1],
        on_gpu=False,
        num_threads=NUM_THREADS,
    )
    ours = LearnerEngine(spec, door)
    plain, wrapped = Padded(model, dtype), Padded(model, dtype)
    by_deepspeed, *_ = deepspeed.initialize(
        model=wrapped,
        optimizer=torch.optim.AdamW(wrapped.network.parameters(), lr=1e-6),
        config=deepspeed_config(spec),
    )
    ways: dict[str, Callable[[Work], object]] = {
        "transformers": lambda work: plain.loss(plain(work), work).backward(),
        "DeepSpeed": lambda work: by_deepspeed.backward(plain.loss(by_deepspeed(work), work)),
        "ours": lambda work: ours._passes([work.row]),
    }
    return _in_turn(model, ways, repetitions)


def measure_reference(model: Path, dtype: str, repetitions: int) -> dict[float, dict[str, Any]]:
    """Seconds of a forward, as `measure_learner`; both ways must say the same."""
    from keomni_rl.engines.reference import ReferenceEngine
    from keomni_rl.engines.specs import ReferenceSpec

    ours = ReferenceEngine(
        ReferenceSpec(
            model=model, dtype=dtype, temperature=1.0, on_gpu=False, num_threads=NUM_THREADS
        )
    )
    padded = Padded(model, dtype)

    @torch.inference_mode()
    def score(work: Work) -> np.ndarray:
        return padded(work).flatten().numpy()

    def score_shared(work: Work) -> np.ndarray:
        return np.concatenate(ours.score(work.row.rollout.group, work.row.clip))

    found = _in_turn(model, {"transformers": score, "ours": score_shared}, repetitions)
    if dtype == "float32":
        for seconds in SECONDS:
            [work] = make_work(model, [seconds])
            apart = float(np.abs(score(work) - score_shared(work)).max())
            if apart > EXACT:
                raise SystemExit(f"both ways differ by {apart:g} over a clip of {seconds} s")
            found[seconds]["largest_difference"] = apart
    return found


def _in_turn(
    model: Path, ways: dict[str, Callable[[Work], object]], repetitions: int
) -> dict[float, dict[str, Any]]:
    found = {}
    for seconds in SECONDS:
        [work] = make_work(model, [seconds])
        times: dict[str, list[float]] = {way: [] for way in ways}
        for repetition in range(repetitions + 1):
            for way, do in ways.items():
                started = time.monotonic()
                do(work)
                if repetition:  # the first time is a warm-up
                    times[way].append(time.monotonic() - started)
        found[seconds] = {
            "times_s": times,
            "fewer_tokens": work.tokens_padded / work.tokens_shared,
        }
    return found


class Padded(torch.nn.Module):
    """The network's own forward over one row for each completion."""

    def __init__(self, model: Path, dtype: str) -> None:
        super().__init__()
        from keomni_rl.models.family import find_family

        family = find_family(model)
        self.network = family.load(model, getattr(torch, dtype))
        self.network.train()
        self._forbidden = family.forbidden_tokens(family.load_processor(model))
        self.takes_all_logits = False
        """Whether the prompt's are turned into log-probabilities too, as the seeds do."""
        torch.set_num_threads(NUM_THREADS)

    def forward(self, work: Work) -> torch.Tensor:
        """Log-probabilities of the group's tokens: float32 [G, T]."""
        rows = [np.concatenate([work.prompt_ids, tokens]) for tokens in work.completions]
        ids = torch.from_numpy(np.stack(rows).astype(np.int64))
        features = work.features.expand(len(rows), -1, -1)
        logits = self.network(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            input_features=features,
            feature_attention_mask=torch.ones(len(rows), features.shape[2], dtype=torch.long),
        ).logits[:, :-1]
        targets, first = ids[:, 1:], len(work.prompt_ids) - 1
        if not self.takes_all_logits:
            logits, targets, first = logits[:, first:], targets[:, first:], 0
        logits = logits.float().index_fill(2, torch.tensor(self._forbidden), float("-inf"))
        chosen = logits.log_softmax(-1).gather(2, targets.unsqueeze(2)).squeeze(2)
        return chosen[:, first:]

    def loss(self, logprobs: torch.Tensor, work: Work) -> torch.Tensor:
        """GRPO's loss with KL to the reference."""
        rollout = work.row.rollout
        advantages = torch.from_numpy(rollout.advantages)[:, None]
        behind = torch.from_numpy(np.stack(rollout.ref_logprobs)) - logprobs
        kl = behind.exp() - behind - 1
        ratio = (logprobs - logprobs.detach()).exp()
        return (0.01 * kl - ratio * advantages).mean()
