"""Model folders of any family and layout, read and written without pickle.

What a layout is, the families say (`keomni_rl.models.family.Layout`); this is how their folders
lie on disk: config.json, processor and tokenizer files, safetensors in one or many shards.
"""

import json
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from keomni_rl.errors import CheckpointError
from keomni_rl.models.family import (
    Config,
    Layout,
    LayoutName,
    find_family,
    layout_named,
    read_config,
    read_object,
)

INDEX = "model.safetensors.index.json"
SHARD_BYTES = 4 * 2**30
DESCRIPTION = {".json", ".txt", ".jinja"}
"""Suffixes of the files that a model folder has beside its weights."""
DTYPE_KEYS = ("dtype", "torch_dtype")
DTYPES = ("bfloat16", "float16", "float32")


def find_layout(path: Path) -> LayoutName:
    """Which layout a model folder has."""
    return layout_of(path).name


def layout_of(path: Path) -> Layout:
    """The layout of a model folder, with its names and its config."""
    config = read_config(path)
    return next(layout for layout in find_family(path).layouts if layout.matches(config))


def stored_dtype(path: Path) -> str:
    """The type of a model folder's weights, as its config names it; bfloat16 if it does not.

    Raises:
        CheckpointError: it names another type than weights can have.
    """
    config = read_config(path)
    parts = [config, *(part for part in config.values() if isinstance(part, dict))]
    named = [part[key] for part in parts for key in DTYPE_KEYS if isinstance(part.get(key), str)]
    if named and named[0] not in DTYPES:
        raise CheckpointError(
            f"{path}: its config.json names the type {named[0]!r:.80}, wanted one of "
            f"{', '.join(DTYPES)}"
        )
    return named[0] if named else "bfloat16"


def weight_files(path: Path) -> list[Path]:
    """The safetensors files of a model folder.

    Raises:
        CheckpointError: there are none, since pickled weights are never read; some that the
            index names are missing; or the index is none.
    """
    index = path / INDEX
    if not index.is_file():
        files = sorted(path.glob("*.safetensors"))
    else:
        weight_map = read_object(index).get("weight_map")
        names = list(weight_map.values()) if isinstance(weight_map, dict) else [None]
        if not all(str(name).endswith(".safetensors") for name in names):
            raise CheckpointError(f"{index}: no index of *.safetensors; download the model again")
        files = sorted({path / Path(str(name)).name for name in names})
        if missing := [file.name for file in files if not os.path.isfile(file)]:
            raise CheckpointError(
                f"{path}: {len(missing)} of {len(files)} weight files are missing, for example "
                f"{missing[0]:.80}; finish the download"
            )
    if not files:
        raise CheckpointError(
            f"{path}: no *.safetensors in it; pickled weights are not read, convert the model first"
        )
    return files


def read_tensors(path: Path) -> Iterator[tuple[str, torch.Tensor]]:
    """The tensors of what is trained, under in-memory names; mapped, read when they are used."""
    layout = layout_of(path)
    for stored, tensor in _stored_tensors(path):
        name = layout.own_name(stored)
        if name is not None:
            yield name, tensor


def _stored_tensors(path: Path) -> Iterator[tuple[str, torch.Tensor]]:
    for file in weight_files(path):
        yield from read_safetensors(file, "download or export it again")


def read_safetensors(file: Path, remedy: str) -> Iterator[tuple[str, torch.Tensor]]:
    """The tensors of one file under their stored names, one at a time.

    Args:
        file: safetensors.
        remedy: what to do if it is none, for the error.

    Raises:
        CheckpointError: it is none.
    """
    try:
        with safe_open(file, framework="pt") as tensors:
            for stored in tensors.keys():  # noqa: SIM118 - not a dict
                yield stored, tensors.get_tensor(stored)
    except SafetensorError as error:
        raise CheckpointError(f"{file}: not readable as safetensors ({error}); {remedy}") from error


def write_shell(out: Path, base: Path, layout: LayoutName, dtype: str | None = None) -> None:
    """Write a model folder without weights: config in the wanted layout, processor, tokenizer.

    Args:
        out: folder to make.
        base: model folder to take them from.
        layout: of ``out``.
        dtype: for its config to name; None keeps the base's.
    """
    wanted = layout_named(find_family(base), layout)
    out.mkdir(parents=True, exist_ok=True)
    for file in base.iterdir():
        if file.is_file() and file.suffix in DESCRIPTION and file.name != INDEX:
            shutil.copyfile(file, out / file.name)
    config = wanted.convert(read_config(base))
    if dtype is not None:
        config = _with_dtype(config, dtype)
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def _with_dtype(config: Config, dtype: str) -> Config:
    changed: Config = {
        key: _with_dtype(value, dtype) if isinstance(value, dict) else value
        for key, value in config.items()
        if key not in DTYPE_KEYS
    }
    return changed | {"dtype": dtype} if any(key in config for key in DTYPE_KEYS) else changed


def write_model(
    out: Path,
    base: Path,
    layout: LayoutName,
    tensors: Iterable[tuple[str, torch.Tensor]],
    *,
    dtype: str | None = None,
) -> None:
    """Write a whole model folder: trained tensors, what they lack taken from ``base``.

    Args:
        out: folder to make.
        base: the model that was trained; its config, processor and untrained tensors are kept,
            those that are no part of what is trained (a talker) only if it has ``layout`` too.
        layout: of ``out``.
        tensors: trained weights under in-memory names.
        dtype: of the trained part; None gives each tensor the type that it has in ``base``.

    Raises:
        CheckpointError: a trained tensor has no place in ``base``.
    """
    write_shell(out, base, layout, dtype)
    source, wanted = layout_of(base), layout_named(find_family(base), layout)
    is_same = source.name == wanted.name
    for companion in wanted.companions if is_same else ():
        if (base / companion).is_file():
            shutil.copyfile(base / companion, out / companion)
    own_dtype = getattr(torch, dtype) if dtype else None

    def everything() -> Iterator[tuple[str, torch.Tensor]]:
        untrained = dict(_stored_tensors(base))
        places = {name: stored for stored in untrained if (name := source.own_name(stored))}
        for name, tensor in tensors:
            old = untrained.pop(places.get(name, ""), None)
            if old is None or old.shape != tensor.shape:
                raise CheckpointError(
                    f"{base}: not the model that was trained, its {name!r} is "
                    f"{'missing' if old is None else tuple(old.shape)} and the trained one "
                    f"{tuple(tensor.shape)}; give the right base"
                )
            yield wanted.stored_name(name), tensor.to(own_dtype or old.dtype)
        for stored, old in untrained.items():
            name = source.own_name(stored)
            if name is not None:
                yield wanted.stored_name(name), old.to(own_dtype or old.dtype)
            elif is_same:
                yield stored, old

    write_tensors(out, everything())


def write_tensors(out: Path, tensors: Iterable[tuple[str, torch.Tensor]]) -> None:
    """Write safetensors shards and their index.

    Args:
        out: an existing folder.
        tensors: under the names that they are to have in the files.
    """
    index: dict[str, str] = {}
    total = 0
    for number, shard in enumerate(_shards(tensors), start=1):
        name = f"model-{number:05d}.safetensors"
        save_file(shard, out / name, metadata={"format": "pt"})
        index.update(dict.fromkeys(shard, name))
        total += sum(tensor.nbytes for tensor in shard.values())
    (out / INDEX).write_text(
        json.dumps({"metadata": {"total_size": total}, "weight_map": index}, indent=2) + "\n"
    )


def _shards(
    tensors: Iterable[tuple[str, torch.Tensor]],
) -> Iterator[dict[str, torch.Tensor]]:
    shard: dict[str, torch.Tensor] = {}
    size = 0
    for name, tensor in tensors:
        if shard and size + tensor.nbytes > SHARD_BYTES:
            yield shard
            shard, size = {}, 0
        shard[name] = tensor.detach().cpu().contiguous()
        size += tensor.nbytes
    yield shard
