"""Policy and AdamW state as safetensors: whole float32 tensors, whatever ZeRO stage wrote them.

DeepSpeed's own checkpoints are pickles bound to a number of ranks. These are neither: every rank
gathers one parameter at a time, rank 0 writes, and any number of ranks at any stage reads.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from deepspeed.utils import (
    safe_get_full_fp32_param,
    safe_get_full_optimizer_state,
    safe_set_full_fp32_param,
    safe_set_full_optimizer_state,
)
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import nn

from keomni_rl.engines.learner_files import KINDS, MOMENTS, STEP, read_stored, trained_parameters

SHARD_BYTES = 2 * 2**30


def save_optimizer_state(
    engine: Any, network: nn.Module, folder: Path, *, is_writer: bool, notes: Mapping[str, str]
) -> None:
    """Write master weights and moments of what learns; a collective that every rank must enter.

    Args:
        engine: the DeepSpeed engine around ``network``.
        network: the trained module; its parameter names are the keys.
        folder: where ``policy-*.safetensors`` and one file set per moment go; must exist.
        is_writer: whether this rank writes.
        notes: kept as metadata of every file.

    Raises:
        OSError: on the writer, after all ranks are through: a file could not be written.
    """
    writer = _ShardWriter(folder, notes) if is_writer else None
    for kind in KINDS:
        for name, tensor in _whole_tensors(engine, network, kind):
            if writer:
                writer.add(kind, name, tensor)
        if writer:
            if kind == MOMENTS[-1]:
                writer.add(kind, STEP, torch.tensor(_adam_step(engine), dtype=torch.int64))
            writer.end(kind)
    if writer and writer.failure:
        raise writer.failure


class _ShardWriter:
    """Writes tensors in files of bounded size.

    After a failure it takes all that comes and writes nothing: what the tensors come from is a
    collective, in which the other ranks would wait for ever.
    """

    def __init__(self, folder: Path, notes: Mapping[str, str]) -> None:
        self._folder, self._notes = folder, dict(notes)
        self._shard: dict[str, torch.Tensor] = {}
        self._size = self._number = 0
        self.failure: OSError | None = None

    def add(self, kind: str, name: str, tensor: torch.Tensor) -> None:
        if self.failure:
            return
        if self._shard and self._size + tensor.nbytes > SHARD_BYTES:
            self._write(kind)
        kept = tensor if tensor.dtype == torch.int64 else tensor.float()
        self._shard[name] = kept.cpu().clone()
        self._size += tensor.nbytes

    def end(self, kind: str) -> None:
        self._write(kind)
        self._number = 0

    def _write(self, kind: str) -> None:
        file = self._folder / f"{kind}-{self._number:05d}.safetensors"
        if not self.failure:
            try:
                save_file(self._shard, file, self._notes)
            except (OSError, SafetensorError) as error:
                self.failure = OSError(f"{file} could not be written: {error}")
        self._shard, self._size, self._number = {}, 0, self._number + 1


def load_optimizer_state(
    engine: Any, network: nn.Module, folder: Path, forward: Callable[[], torch.Tensor]
) -> None:
    """Put master weights, moments and step count into a fresh engine, exactly as saved.

    Args:
        engine: the DeepSpeed engine around ``network``.
        network: the trained module, whose weights are the checkpoint's already.
        folder: written by `save_optimizer_state`.
        forward: any pass through the engine that reaches every parameter.
    """
    _make_state_exist(engine, forward)
    params = trained_parameters(network)
    step = 0
    for kind in KINDS:
        for name, tensor in read_stored(folder, kind):
            if name == STEP:
                step = int(tensor)
                continue
            _set_whole_tensor(engine, params[name], kind, tensor.to(engine.device))
    for state in _base_optimizer(engine).state.values():
        is_tensor = isinstance(state["step"], torch.Tensor)  # not in DeepSpeed's AdamW for hosts
        state["step"] = torch.full_like(state["step"], float(step)) if is_tensor else step


def _whole_tensors(
    engine: Any, network: nn.Module, kind: str
) -> Iterator[tuple[str, torch.Tensor]]:
    base = _base_optimizer(engine)
    for name, param in trained_parameters(network).items():
        if not _is_partitioned(param):
            yield name, param.detach() if kind == "policy" else base.state[param][kind]
        elif kind == "policy":
            yield name, safe_get_full_fp32_param(param)
        else:
            yield name, safe_get_full_optimizer_state(param, kind)


def _set_whole_tensor(engine: Any, param: nn.Parameter, kind: str, value: torch.Tensor) -> None:
    if not _is_partitioned(param):
        target = param.data if kind == "policy" else _base_optimizer(engine).state[param][kind]
        target.copy_(value)
    elif kind == "policy":
        safe_set_full_fp32_param(param, value)
    else:
        safe_set_full_optimizer_state(param, value, kind)


def _is_partitioned(param: nn.Parameter) -> bool:
    """Whether a ZeRO optimizer keeps this parameter's float32 copy in shards of its own."""
    return hasattr(param, "ds_id") or hasattr(param, "_hp_mapping")


def _base_optimizer(engine: Any) -> torch.optim.Optimizer:
    return getattr(engine.optimizer, "optimizer", engine.optimizer)


def _adam_step(engine: Any) -> int:
    return int(next(iter(_base_optimizer(engine).state.values()))["step"])


def _make_state_exist(engine: Any, forward: Callable[[], torch.Tensor]) -> None:
    """AdamW makes its moments at the first step: take one that changes nothing."""
    settings = [(g, g["lr"], g["weight_decay"]) for g in engine.optimizer.param_groups]
    for group, _, _ in settings:
        group["lr"] = group["weight_decay"] = 0.0
    engine.set_gradient_accumulation_boundary(True)
    engine.backward(forward().sum() * 0.0)
    engine.step()
    for group, lr, weight_decay in settings:
        group["lr"], group["weight_decay"] = lr, weight_decay
