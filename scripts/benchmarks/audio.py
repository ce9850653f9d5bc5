"""How often one clip is decoded, resampled, turned into mel and encoded, in a real training.

Every process of the training is started with a watcher that notes these calls in a file.
"""

import json
import os
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.result import result
from benchmarks.training import GROUPS_PER_STEP, train, words
from benchmarks.workload import GROUP_SIZE

NUM_STEPS = 3
ROLES = {
    "LearnerActor": "learner",
    "ReferenceActor": "reference",
    "RolloutActor": "rollout",
    "VLLM::": "rollout",
    "AudioActor": "audio",
    "keomni_rl.cli": "report",
}
"""What a process's title has -> whose it is."""
NEEDED = (
    *(("decode", "audio"), ("resample", "audio"), ("mel", "audio")),
    *(("tower", "learner"), ("tower", "reference"), ("tower", "rollout")),
)
WATCHER = """
import json, os, time
import wrapt

def note(what, number):
    with open("/proc/self/cmdline", "rb") as file:
        title = file.read().replace(bytes(1), b" ").decode()
    line = json.dumps({"time": time.time(), "what": what, "number": number, "title": title})
    with open(os.environ["KEOMNI_RL_COUNTS"], "a") as file:
        file.write(line + chr(10))

def counted(what, number=lambda args, kwargs: 1):
    def wrapper(wrapped, instance, args, kwargs):
        note(what, number(args, kwargs))
        return wrapped(*args, **kwargs)
    return wrapper

@wrapt.when_imported("keomni_rl.data.audio")
def watch_audio(module):
    wrapt.wrap_function_wrapper(module, "read_samples", counted("decode"))
    wrapt.wrap_function_wrapper(module, "log_mel", counted("mel"))

@wrapt.when_imported("soxr")
def watch_soxr(module):
    wrapt.wrap_function_wrapper(module, "resample", counted("resample"))

@wrapt.when_imported("transformers.models.whisper.feature_extraction_whisper")
def watch_extractor(module):
    wrapt.wrap_function_wrapper(module, "WhisperFeatureExtractor.__call__", counted("mel"))

@wrapt.when_imported("transformers.models.qwen2_5_omni.modeling_qwen2_5_omni")
def watch_tower(module):
    def clips(args, kwargs):
        return len(kwargs["feature_lens"])
    wrapt.wrap_function_wrapper(module, "Qwen2_5OmniAudioEncoder.forward", counted("tower", clips))
"""
"""A sitecustomize.py: Python runs it at the start of every process."""


def audio(repetitions: int) -> dict[str, Any]:  # noqa: ARG001
    """Calls for one group, of clips at 44.1 kHz; doing it for each completion would be 8 of each.

    Prefill passes of vLLM encode a clip once and keep it, the learner and the reference once a
    group; whatever a process does before training is ready does not count.
    """
    from keomni_rl.observe.sinks import read_lines

    with tempfile.TemporaryDirectory() as folder:
        root, run_dir = Path(folder), Path(folder) / "run"
        (root / "sitecustomize.py").write_text(WATCHER)
        counts = root / "counts.jsonl"
        os.environ |= {"PYTHONPATH": folder, "KEOMNI_RL_COUNTS": str(counts)}
        try:
            more = (f"train.max_steps={NUM_STEPS}", "learner.micro_batch_tokens=100000")
            train(words(root, run_dir, *more, rate_hz=44_100))
        finally:
            del os.environ["PYTHONPATH"], os.environ["KEOMNI_RL_COUNTS"]
        [ready] = [e for e in read_lines(run_dir / "events.jsonl") if e["event"] == "ready"]
        calls = [json.loads(line) for line in counts.read_text().splitlines()]
    totals: Counter[str] = Counter()
    for call in calls:
        if call["time"] > ready["time"]:
            [role] = {role for word, role in ROLES.items() if word in call["title"]}
            totals[f"{call['what']} in {role}"] += call["number"]
    groups = NUM_STEPS * GROUPS_PER_STEP
    per_group = {name: number / groups for name, number in sorted(totals.items())}
    if missing := {f"{what} in {role}" for what, role in NEEDED} - per_group.keys():
        raise SystemExit(f"never seen: {sorted(missing)}; seen: {per_group}")
    most = max(per_group.values())
    return result(
        "audio",
        "once",
        1 / most,
        1.0,
        f"a group of {GROUP_SIZE}: " + ", ".join(f"{n} {v:g}" for n, v in per_group.items()),
        per_group=per_group,
    )
