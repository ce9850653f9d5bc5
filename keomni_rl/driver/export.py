"""Export: what a run has learnt, or any model folder, becomes a model folder of either layout.

The result is plain Hugging Face format, for transformers and vLLM without anything of ours.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import torch
from pydantic import ValidationError

from keomni_rl.config import read_mapping
from keomni_rl.config.run_dir import last_name, parent, work_dir
from keomni_rl.config.schema import ModelConfig
from keomni_rl.driver.card_facts import card_facts
from keomni_rl.driver.checkpoints import latest_checkpoint, stored_adapters
from keomni_rl.driver.provenance import told_of
from keomni_rl.driver.stored_checkpoints import StoredCheckpoints
from keomni_rl.engines.learner_files import read_stored
from keomni_rl.errors import CheckpointError, ConfigError
from keomni_rl.models.adapters import merge_stored
from keomni_rl.models.family import LayoutName, find_family, layout_named
from keomni_rl.models.hub import local_model
from keomni_rl.models.layout import find_layout, read_tensors, weight_files, write_model
from keomni_rl.observe.model_card import CARD, UNSTATED, License, write_card
from keomni_rl.storage.learner_files import fetch_checkpoint
from keomni_rl.storage.manifest import find_damage, step_of
from keomni_rl.storage.mirror import CHECKPOINTS
from keomni_rl.storage.reading import copy_files
from keomni_rl.storage.store import Store, refused

Dtype = Literal["float32", "bfloat16", "float16"]


@dataclass(frozen=True, slots=True)
class Export:
    """What was written, and from what."""

    folder: Path
    layout: LayoutName
    source: Path
    """The checkpoint or model folder that the trained weights come from."""
    base: Path
    """The model folder that everything else comes from."""
    num_bytes: int
    """Of the weights."""


def export_model(
    checkpoint: Path,
    out: Path,
    *,
    layout: LayoutName | None = None,
    base: ModelConfig | None = None,
    dtype: Dtype | None = None,
    license: License = UNSTATED,
) -> Export:
    """Write a model folder with its card, aside first: ``out`` is whole or not there.

    Args:
        checkpoint: a run's folder (its newest checkpoint is taken), one of its checkpoints, or a
            model, as folder or hub name.
        out: folder to make; it may exist if it is empty.
        layout: of ``out``; None is that of the base.
        base: model that gives what the checkpoint lacks; None is the one that the run began with,
            or the model itself.
        dtype: of the trained part; None gives each tensor the type that it has in the base.
        license: of ``out``, for its card.

    Raises:
        DataError: the run's own files, which the card tells of, are damaged.
        CheckpointError: ``checkpoint`` is none of these or damaged, its base is missing or another
            one, the family has no such layout, ``out`` is in use, or the disk is too small.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise CheckpointError(f"{out}: exists already; choose a new folder")
    source = _find_source(checkpoint)
    base = base or _base_of(source)
    base_folder = local_model(base.path, base.revision)
    wanted = layout or find_layout(base_folder)
    companions = layout_named(find_family(base_folder), wanted).companions
    base_folder = local_model(base.path, base.revision, companions=[*companions, CARD])
    aside = out.with_name(f".{out.name}.partial")
    shutil.rmtree(aside, ignore_errors=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    _require_room(base_folder, out.parent, dtype)
    try:
        write_model(aside, base_folder, wanted, trained_tensors(source, base_folder), dtype=dtype)
        facts = card_facts(aside, base, base_folder, source, name=out.name, license=license)
        write_card(aside, facts)
        aside.rename(out)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    num_bytes = sum(file.stat().st_size for file in weight_files(out))
    return Export(out, wanted, source, base_folder, num_bytes)


@contextmanager
def local_source(place: Path | str) -> Iterator[Path]:
    """What is to be exported, on this machine's disk; of a run at a URL its newest checkpoint.

    Raises:
        CheckpointError: at the URL is no whole checkpoint.
        ConfigError: the store refuses.
    """
    if isinstance(place, Path):
        yield place
        return
    is_run = step_of(last_name(place)) is None
    run_url = place if is_run else parent(parent(place))
    work_dir().mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="export-", dir=work_dir()) as temp:
        folder = Path(temp, CHECKPOINTS)
        try:
            if not is_run:
                source = fetch_checkpoint(place, folder)
            elif newest := StoredCheckpoints(Store(place), cache=folder).newest():
                source = newest.folder
            else:
                raise CheckpointError(f"{place}: no run there, or it has no checkpoint yet")
        except OSError as error:
            raise refused(place, error) from error
        copy_files(run_url, told_of(run_url), Path(temp))
        yield source


def trained_tensors(source: Path, base: Path) -> Iterator[tuple[str, torch.Tensor]]:
    """The weights that differ from the base's, under in-memory names, adapters merged.

    Args:
        source: a learner checkpoint, which may hold only what learnt, or a model folder.
        base: model folder that a learner checkpoint was trained from.
    """
    if _is_model(source):
        return iter(()) if source == base else read_tensors(source)
    adapters = stored_adapters(source)
    if adapters is None:
        return read_stored(source, "policy")
    return merge_stored(dict(read_stored(source, "policy")), read_tensors(base), adapters.scale)


def _find_source(path: Path) -> Path:
    """The folder with the trained weights: a learner checkpoint or a model."""
    if _is_model(path) or not path.exists():
        return local_model(path)
    if (path / "checkpoints").is_dir():
        latest = latest_checkpoint(path / "checkpoints")
        if latest is None:
            raise CheckpointError(f"{path}: the run has no checkpoint yet; train it further")
        return latest[0]
    if not any(path.glob("policy-*.safetensors")):
        raise CheckpointError(
            f"{path}: neither a run's folder, nor one of its checkpoints (checkpoints/step_...), "
            "nor a model folder (config.json)"
        )
    if damage := find_damage(path):
        raise CheckpointError(f"{path}: {damage}; export another checkpoint")
    return path


def _base_of(source: Path) -> ModelConfig:
    """The model that a learner checkpoint was trained from; a model is its own base."""
    if _is_model(source):
        return ModelConfig(path=source)
    config = source.resolve().parents[1] / "config.yaml"
    if not config.is_file():
        raise CheckpointError(
            f"{config}: no such file, which would name the model that the run began with; give it "
            "as --base"
        )
    try:
        return ModelConfig.model_validate(read_mapping(config).get("model"))
    except (ConfigError, ValidationError) as error:
        raise CheckpointError(
            f"{config}: does not say which model the run began with ({error}); give it as --base"
        ) from error


def _is_model(path: Path) -> bool:
    return (path / "config.json").is_file()


def _require_room(base: Path, parent: Path, dtype: Dtype | None) -> None:
    needed = sum(file.stat().st_size for file in weight_files(base)) * (2 if dtype else 1)
    free = shutil.disk_usage(parent).free
    if free < needed:
        raise CheckpointError(
            f"{parent}: {free / 2**30:.1f} GiB free, up to {needed / 2**30:.1f} GiB are needed; "
            "make room or choose another disk"
        )
