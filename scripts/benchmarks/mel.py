"""Features of a clip: ours against the processor's extractor as it comes."""

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.result import result
from benchmarks.workload import noise

GOAL = 5.0
"""Times faster on a clip of a second."""
EXACT = 1e-5
LENGTHS_S = (1.0, 3.0, 10.0, 30.0)


def mel(repetitions: int) -> dict[str, Any]:
    """Log-mel of clips of 1 to 30 s against Qwen2.5-Omni's extractor, which pads to 300 s."""
    from transformers import WhisperFeatureExtractor

    from keomni_rl.data.audio import LONGEST_WINDOW_S, NUM_MEL_BINS, TAIL_FRAMES, log_mel

    extractor = WhisperFeatureExtractor(
        feature_size=NUM_MEL_BINS, chunk_length=round(LONGEST_WINDOW_S)
    )

    def default(samples: np.ndarray) -> np.ndarray:
        found = extractor(
            samples, sampling_rate=16_000, return_attention_mask=True, return_tensors="np"
        )
        features: np.ndarray = found["input_features"][0]
        return features

    cases = []
    for seconds in LENGTHS_S:
        samples = noise(seconds, seed=0)
        ours, theirs = log_mel(samples), default(samples)
        num_frames = ours.shape[1] - TAIL_FRAMES
        apart = float(np.abs(ours[:, :num_frames] - theirs[:, :num_frames]).max())
        if apart > EXACT:
            raise SystemExit(f"features of a clip of {seconds} s differ by {apart:g}")
        times: dict[str, list[float]] = {"ours": [], "default": []}
        ways: dict[str, Callable[[np.ndarray], object]] = {"ours": log_mel, "default": default}
        for _ in range(repetitions):
            for way, compute in ways.items():
                started = time.perf_counter()
                compute(samples)
                times[way].append(time.perf_counter() - started)
        medians = {way: statistics.median(taken) for way, taken in times.items()}
        cases.append(
            {
                "seconds": seconds,
                "faster": medians["default"] / medians["ours"],
                "largest_difference": apart,
                "times_s": times,
            }
        )
    details = ", ".join(f"{case['seconds']:.0f} s {case['faster']:.1f} times" for case in cases)
    apart = max(case["largest_difference"] for case in cases)
    return result(
        "mel",
        "the extractor's speed on 1 s",
        cases[0]["faster"],
        GOAL,
        f"{details}; apart by {apart:.1g} at most",
        cases=cases,
    )
