"""Adapters learn from sounds that the project did not make: recordings, and a synthesiser's speech."""

import json
import shutil
import subprocess
from pathlib import Path

from safetensors.torch import load_file

RECORDINGS = {
    "Front_Center": "front",
    "Front_Left": "left",
    "Front_Right": "right",
    "Rear_Center": "rear",
}
WORDS = ("mountain", "river", "seven", "green")


def test_adapters_alone_learn_from_a_folder_of_recordings(inputs, tmp_path):
    rows = []
    for name, answer in RECORDINGS.items():
        source = Path("/usr/share/sounds/alsa") / f"{name}.wav"
        shutil.copy(source, tmp_path / f"{name}.wav")
        rows.append((f"{name}.wav", "Which side is named?", list(RECORDINGS.values()), answer))
    for word in WORDS:
        subprocess.run(["espeak-ng", "-w", tmp_path / f"{word}.wav", word], check=True)
        rows.append((f"{word}.wav", "Which word is spoken?", list(WORDS), word))
    with (tmp_path / "mine.jsonl").open("w") as file:
        for audio, question, choices, answer in rows:
            row = {
                "id": audio,
                "question": question,
                "choices": choices,
                "answer": answer,
                "audio": audio,
            }
            file.write(json.dumps(row) + "\n")
    run = inputs.run(
        tmp_path / "run",
        *(f"data.train=[{tmp_path / 'mine.jsonl'}]", "evaluation=null", "reward.compat=true"),
        *("train.max_steps=4", "train.groups_per_step=8", "algo.beta=0.01"),
        *("learner.trained=lora", "learner.lora.rank=4", "learner.lr=2e-3"),
    )
    assert [m["step"] for m in run.metrics] == [1, 2, 3, 4]
    # What was sampled is what the learner scores, after every transfer of adapters too.
    assert all(m["kl/rollout_policy_max"] < 1e-4 for m in run.metrics)
    assert run.metrics[0]["kl/ref_mean"] < 1e-6 < run.metrics[-1]["kl/ref_mean"]
    stored = load_file(run.path / "checkpoints" / "step_000004" / "policy-00000.safetensors")
    assert all(".lora_" in name for name in stored)
    sizes = {m["publish/bytes"] for m in run.metrics}
    assert sizes == {sum(tensor.nbytes for tensor in stored.values())}
    assert {
        json.loads(line)["audio"].rsplit("/")[-1]
        for f in (run.path / "rollouts").iterdir()
        for line in f.read_text().splitlines()
    } <= {r[0] for r in rows}
