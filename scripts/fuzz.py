"""Throws bytes at every reader, led by coverage: whatever comes, a reader answers or refuses.

    pip install -e '.[fuzz]'
    python scripts/fuzz.py TARGET [libFuzzer's arguments, such as -max_total_time=60]

TARGET is one of those below. A crash, a leak or a hang ends it, and the bytes are kept.
"""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["keomni_rl"]):
    from keomni_rl.config import RunConfig, load_config
    from keomni_rl.config.run_dir import located
    from keomni_rl.data.audio import check_header, read_samples
    from keomni_rl.data.json_lines import decode_json
    from keomni_rl.data.mmau import read_mmau
    from keomni_rl.errors import USER_ERRORS
    from keomni_rl.evaluation.predictions import read_prediction_file
    from keomni_rl.planning.rates import read_rates
    from keomni_rl.rewards.accuracy import accuracy
    from keomni_rl.rewards.format import format_reward
    from keomni_rl.storage.manifest import MANIFEST, STATE, find_damage
    from keomni_rl.types import Prompt, Question

FOLDER = Path(tempfile.mkdtemp(prefix="keomni_rl-fuzz-"))
QUESTION = Question(id="1", question="?", choices=("dog", "cat"), answer="dog", audio="a.wav")


def _file(name: str, content: bytes) -> Path:
    path = FOLDER / name
    path.write_bytes(content)
    return path


def _audio(content: bytes) -> None:
    path = str(_file("clip.wav", content))
    check_header(path, max_audio_s=30)
    read_samples(path, max_audio_s=30)


def _checkpoint(content: bytes) -> None:
    manifest, _, state = content.partition(b"\0")
    _file(MANIFEST, manifest)
    _file(STATE, state)
    find_damage(FOLDER)


def _completion(content: bytes) -> None:
    text = content.decode(errors="replace")
    prompt = Prompt(question=QUESTION, text="")
    assert 0 <= accuracy([text], prompt)[0] <= 1
    assert all(0 <= format_reward(text, prompt, think=think) <= 1 for think in (True, False))


TARGETS: dict[str, Callable[[bytes], object]] = {
    "json": decode_json,
    "configuration": lambda content: load_config(RunConfig, [str(_file("c.yaml", content))]),
    "mmau": lambda content: read_mmau(_file("mmau.json", content)),
    "predictions": lambda content: read_prediction_file(
        _file("predictions.json", content), key="model_output"
    ),
    "audio": _audio,
    "checkpoint": _checkpoint,
    "completion": _completion,
    "rates": lambda content: read_rates(_file("rates.json", content)),
    "url": lambda content: located(content.decode(errors="replace")),
}
REFUSALS = {"json": (ValueError, RecursionError)}
"""What a reader may raise, if not a user's error."""


def main() -> None:
    """Fuzz the reader that is named first."""
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        raise SystemExit(f"wanted one of {', '.join(TARGETS)}")
    name = sys.argv.pop(1)
    read, refusals = TARGETS[name], REFUSALS.get(name, USER_ERRORS)

    def once(content: bytes) -> None:
        try:
            read(content)
        except refusals:
            return

    atheris.Setup(sys.argv, once)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
