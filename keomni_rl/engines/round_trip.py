"""Asks vLLM's own processor, without an engine, how it would tokenise a prompt with its clip.

Run as ``python -m keomni_rl.engines.round_trip`` in a process of its own, so that a check of the
configuration does not load vLLM into the driver. Reads a JSON object with ``model``, ``text``,
``audio`` and ``max_audio_s`` from standard input; prints ``{"learner": ids, "engine": ids}``.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

from keomni_rl.data.audio import SAMPLE_RATE_HZ, load_clip
from keomni_rl.models.family import find_family
from keomni_rl.models.layout import write_shell
from keomni_rl.types import Clip


def engine_prompt_ids(model: Path, ids: list[int], clip: Clip) -> list[int]:
    """Token ids of a chat prompt after vLLM has put the audio's placeholders in.

    Args:
        model: a model folder in any layout.
        ids: its tokens with one placeholder.
        clip: the audio.
    """
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    from vllm.config import ModelConfig
    from vllm.multimodal import MULTIMODAL_REGISTRY
    from vllm.multimodal.processing import ProcessorInputs, TimingContext

    with tempfile.TemporaryDirectory(prefix="keomni_rl-check-") as folder:
        write_shell(Path(folder), model, "full")
        config = ModelConfig(
            model=folder,
            trust_remote_code=False,
            limit_mm_per_prompt={"audio": 1, "image": 0, "video": 0},
        )
        processor = MULTIMODAL_REGISTRY.create_processor(config)
        items = processor.info.get_data_parser().parse_mm_data(
            {"audio": [(clip.samples, SAMPLE_RATE_HZ)]}
        )
        inputs = ProcessorInputs(prompt=ids, mm_data_items=items)
        return list(processor.apply(inputs, TimingContext(enabled=False))["prompt_token_ids"])


def main() -> None:
    """Compare one prompt on both sides."""
    asked = json.load(sys.stdin)
    model = Path(asked["model"])
    clip = load_clip(asked["audio"], max_audio_s=asked["max_audio_s"])
    family = find_family(model)
    processor = family.load_processor(model)
    chat_text = family.chat_text(processor, asked["text"])
    learner = family.prompt_ids(processor, asked["text"], clip.mel.shape[1])
    engine = engine_prompt_ids(model, processor.tokenizer(chat_text)["input_ids"], clip)
    sys.stdout.write("\n" + json.dumps({"learner": learner, "engine": engine}) + "\n")


if __name__ == "__main__":
    main()
