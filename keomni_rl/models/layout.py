"""The two ways a Qwen2.5-Omni checkpoint lies on disk, read and written without pickle.

"thinker": what trainers save and the seeds released. "full": what the hub and vLLM have. The
trained tensors are the same; names carry the family's prefix in the full one.
"""

import json
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from keomni_rl.errors import CheckpointError
from keomni_rl.models.family import read_config

Layout = Literal["thinker", "full"]
INDEX = "model.safetensors.index.json"
SHARD_BYTES = 4 * 2**30
PREFIX = "thinker."
ARCHITECTURES: dict[Layout, str] = {
    "thinker": "Qwen2_5OmniThinkerForConditionalGeneration",
    "full": "Qwen2_5OmniForConditionalGeneration",
}


def find_layout(path: Path) -> Layout:
    """Which layout a model folder has."""
    return "full" if "thinker_config" in read_config(path) else "thinker"


def weight_files(path: Path) -> list[Path]:
    """The safetensors files of a model folder.

    Raises:
        CheckpointError: there are none; pickled weights are never read.
    """
    files = sorted(path.glob("*.safetensors"))
    if not files:
        raise CheckpointError(
            f"{path}: no *.safetensors in it; pickled weights are not read, convert the model first"
        )
    return files


def read_tensors(path: Path) -> Iterator[tuple[str, torch.Tensor]]:
    """The thinker's tensors of either layout, under bare names, one at a time."""
    is_full = find_layout(path) == "full"
    for file in weight_files(path):
        with safe_open(file, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118 - not a dict
                if not is_full:
                    yield name, tensors.get_tensor(name)
                elif name.startswith(PREFIX):
                    yield name.removeprefix(PREFIX), tensors.get_tensor(name)


def layout_config(path: Path, layout: Layout) -> dict[str, object]:
    """The config.json of a model folder, turned into the wanted layout."""
    raw = read_config(path)
    thinker = dict(raw.get("thinker_config", raw))
    thinker["model_type"] = "qwen2_5_omni_thinker"
    if layout == "thinker":
        return thinker | {"architectures": [ARCHITECTURES[layout]]}
    if "thinker_config" in raw:
        return raw
    return {
        "architectures": [ARCHITECTURES[layout]],
        "model_type": "qwen2_5_omni",
        "enable_audio_output": False,
        "thinker_config": thinker,
        "dtype": thinker.get("dtype", "bfloat16"),
    }


def write_shell(out: Path, base: Path, layout: Layout) -> None:
    """Write a model folder without weights: config in the wanted layout, processor, tokenizer."""
    out.mkdir(parents=True, exist_ok=True)
    for file in base.iterdir():
        if file.is_file() and file.suffix in {".json", ".txt", ".jinja"} and file.name != INDEX:
            shutil.copy2(file, out / file.name)
    (out / "config.json").write_text(json.dumps(layout_config(base, layout), indent=2) + "\n")


def write_model(
    out: Path, base: Path, layout: Layout, tensors: Iterable[tuple[str, torch.Tensor]]
) -> None:
    """Write a whole model folder: ``tensors`` under bare names, what they lack taken from ``base``.

    Args:
        out: folder to make.
        base: the model that was trained; its config, processor and untrained tensors are kept.
        layout: of ``out``.
        tensors: trained weights, bare thinker names.
    """
    write_shell(out, base, layout)
    shard: dict[str, torch.Tensor] = {}
    index: dict[str, str] = {}
    seen: set[str] = set()
    size = total = number = 0

    def flush() -> None:
        nonlocal shard, size, number
        number += 1
        name = f"model-{number:05d}.safetensors"
        save_file(shard, out / name, metadata={"format": "pt"})
        index.update(dict.fromkeys(shard, name))
        shard, size = {}, 0

    def everything() -> Iterator[tuple[str, torch.Tensor]]:
        for name, tensor in tensors:
            seen.add(name)
            yield name, tensor
        for name, tensor in read_tensors(base):
            if name not in seen:
                yield name, tensor

    prefix = PREFIX if layout == "full" else ""
    for name, tensor in everything():
        num_bytes = tensor.numel() * tensor.element_size()
        if shard and size + num_bytes > SHARD_BYTES:
            flush()
        shard[prefix + name] = tensor.detach().cpu().contiguous()
        size += num_bytes
        total += num_bytes
    flush()
    (out / INDEX).write_text(
        json.dumps({"metadata": {"total_size": total}, "weight_map": index}, indent=2) + "\n"
    )
