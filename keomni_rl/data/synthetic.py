"""Writes labelled sounds with their questions: a training file and a held-out set in MMAU's form.

Clip number i of a split comes from a random stream of its own, so splits share no clip and a
larger set begins with the smaller one.
"""

import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from keomni_rl.data.sounds import MIN_SECONDS, SYNTHS, Draw, Wave

VERSION = 1
"""Raised when the same parameters would make other files."""
RATES_HZ = (8_000, 16_000, 22_050, 44_100, 48_000)
ENCODINGS = (("wav", "PCM_16"), ("wav", "FLOAT"), ("flac", "PCM_16"))
MAX_CHOICES = 4


@dataclass(frozen=True, slots=True)
class Kind:
    """How one kind of label is asked for and where MMAU would file it."""

    task: str
    sub_category: str
    difficulty: str
    questions: tuple[str, ...]


KINDS = {
    "event": Kind(
        "sound",
        "Acoustic Source Inference",
        "medium",
        ("What sound is heard?", "What makes this sound?"),
    ),
    "pitch": Kind(
        "music",
        "Melodic Structure Interpretation",
        "easy",
        ("How high is the note?", "What is the register of the note?"),
    ),
    "key": Kind("music", "Harmony and Chord Progressions", "hard", ("What is the key?",)),
    "tempo": Kind(
        "music",
        "Rhythm and Tempo Understanding",
        "easy",
        ("What is the tempo?", "How fast is the beat?"),
    ),
    "timbre": Kind("music", "Instrumentation", "medium", ("Which instrument is playing?",)),
    "vowel": Kind("speech", "Phonological Sequence Decoding", "hard", ("Which vowel is spoken?",)),
    "syllables": Kind("speech", "Counting", "hard", ("How many syllables are spoken?",)),
    "voice": Kind("speech", "Multi Speaker Role Mapping", "easy", ("How does the voice sound?",)),
}


@dataclass(frozen=True, slots=True)
class SyntheticFiles:
    """What was written."""

    train: Path
    """JSONL in the training format."""
    heldout: Path
    """JSON in MMAU's form."""


@dataclass(frozen=True, slots=True)
class _Item:
    kind: str
    question: str
    choices: list[str]
    answer: str
    audio: str


def generate(out: Path, *, num_train: int, num_heldout: int, seed: int) -> SyntheticFiles:
    """Write both sets under ``out``, or find them there as they would be written.

    Args:
        out: folder to make; one that holds another set is replaced.
        num_train: training questions.
        num_heldout: held-out questions.
        seed: of everything.
    """
    files = SyntheticFiles(out / "train.jsonl", out / "heldout.json")
    manifest = {"version": VERSION, "train": num_train, "heldout": num_heldout, "seed": seed}
    done = out / "manifest.json"
    if done.is_file() and json.loads(done.read_text()) == manifest:
        return files
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as aside:
        folder = Path(aside) / out.name
        _write_train(folder, [_make(folder, "train", i, seed) for i in range(num_train)])
        _write_heldout(folder, [_make(folder, "heldout", i, seed) for i in range(num_heldout)])
        (folder / "manifest.json").write_text(json.dumps(manifest))
        if out.exists():
            shutil.rmtree(out)
        folder.rename(out)
    return files


def _make(folder: Path, split: str, index: int, seed: int) -> _Item:
    rng = np.random.default_rng([VERSION, seed, int(split == "heldout"), index])
    name = list(KINDS)[index % len(KINDS)]
    labels = list(SYNTHS[name])
    answer = str(rng.choice(labels))
    others = [label for label in labels if label != answer]
    offered = [answer, *rng.permutation(others)[: MAX_CHOICES - 1]]
    choices = [str(choice) for choice in rng.permutation(offered)]
    audio = _write_clip(folder, split, index, name, answer, rng)
    question = str(rng.choice(KINDS[name].questions))
    return _Item(name, question, choices, answer, audio)


def _write_clip(
    folder: Path, split: str, index: int, kind: str, label: str, rng: np.random.Generator
) -> str:
    rate_hz = int(rng.choice(RATES_HZ))
    seconds = float(rng.uniform(3.0, 4.0) if rng.random() < 0.04 else rng.uniform(0.5, 1.4))
    seconds = max(seconds, MIN_SECONDS.get(kind, 0.0))
    draw = Draw(t=np.arange(int(seconds * rate_hz)) / rate_hz, rng=rng)
    wave = _room(SYNTHS[kind][label](draw), draw)
    if rng.random() < 0.4:
        left = rng.uniform(0.3, 1.0)
        wave = np.stack([wave * left, wave * (1.3 - left)], axis=1)
    suffix, subtype = ENCODINGS[int(rng.integers(len(ENCODINGS)))]
    path = folder / split / f"{index:06d}.{suffix}"
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, wave, rate_hz, subtype=subtype)
    return f"{split}/{path.name}"


def _room(wave: Wave, draw: Draw) -> Wave:
    """Level, background noise and soft edges."""
    wave = wave / (np.abs(wave).max() + 1e-9)
    edge_s = 0.01
    fade = np.clip(np.minimum(draw.t, draw.seconds - draw.t) / edge_s, 0, 1)
    noise = draw.noise() * 10 ** draw.uniform(-3.0, -2.0)
    return np.asarray((wave * fade + noise) * draw.uniform(0.2, 0.7))


def _write_train(folder: Path, items: list[_Item]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "train.jsonl").open("w") as file:
        for index, item in enumerate(items):
            row = {
                "id": f"train-{index:06d}",
                "question": item.question,
                "choices": item.choices,
                "answer": item.answer,
                "audio": item.audio,
                "dataset": "synthetic",
                "kind": item.kind,
                "task": KINDS[item.kind].task,
            }
            file.write(json.dumps(row) + "\n")


def _write_heldout(folder: Path, items: list[_Item]) -> None:
    rows = [
        {
            "id": f"heldout-{index:06d}",
            "audio_id": f"./{item.audio}",
            "question": item.question,
            "choices": item.choices,
            "answer": item.answer,
            "dataset": "synthetic",
            "task": KINDS[item.kind].task,
            "split": "test-mini",
            "category": "Reasoning",
            "sub-category": KINDS[item.kind].sub_category,
            "difficulty": KINDS[item.kind].difficulty,
        }
        for index, item in enumerate(items)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "heldout.json").write_text(json.dumps(rows, indent=2) + "\n")
