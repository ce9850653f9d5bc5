"""DeepSpeed as the learner: one rank that turns rows of scored groups into an optimizer step.

Any number of ranks and ZeRO stage 0 to 3 run these same lines. A checkpoint is safetensors with
whole float32 tensors, so it holds no pickle and fits any number of ranks and any stage.
"""

import math
import os
import socket
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import deepspeed
import numpy as np
import torch
import torch.distributed as dist
from deepspeed.runtime.zero.offload_config import OffloadStateTypeEnum
from torch import nn

from keomni_rl.algorithms.loss import Metrics, grpo_loss, likelihood_loss
from keomni_rl.config.schema import LearnerConfig
from keomni_rl.data.audio import NUM_MEL_BINS
from keomni_rl.engines.learner_files import load_policy
from keomni_rl.engines.operators import prepare_operators
from keomni_rl.engines.optimizer_state import load_optimizer_state, save_optimizer_state
from keomni_rl.engines.rows import MicroBatch, Row, split_rows
from keomni_rl.engines.specs import LearnerSpec
from keomni_rl.engines.weight_source import LearnerWeights
from keomni_rl.errors import NonFiniteLossError
from keomni_rl.models.adapters import SCALE, choose_trained, lora_scale, merged_weights
from keomni_rl.models.family import find_family
from keomni_rl.models.hub import local_model
from keomni_rl.models.shared_prefix import PackedRows, Policy

MEET_WITHIN = timedelta(minutes=30)
"""All ranks; some may have to wait for a node."""
ASLEEP = (OffloadStateTypeEnum.lp_params, OffloadStateTypeEnum.lp_grads)
"""What a sleeping learner keeps on the host."""
NUM_PROBE_FRAMES = 100
"""Mel frames of the silent clip that a fresh optimizer is woken with."""


class LearnerEngine:
    """The policy under DeepSpeed on one rank.

    Args:
        spec: what it is and does.
        door: socket that listens at the meeting point, on rank 0; without it one is opened on all
            of the machine's addresses.
    """

    def __init__(self, spec: LearnerSpec, door: socket.socket | None = None) -> None:
        self.spec = spec
        self.device = torch.device("cuda" if spec.on_gpu else "cpu")
        _join_ranks(spec, door)
        model = local_model(spec.model, spec.revision)
        self.family = find_family(model)
        self._processor = self.family.load_processor(model)
        network = self.family.load(model, getattr(torch, spec.dtype))
        choose_trained(network, self.family, spec.learner, seed=spec.seed)
        if spec.checkpoint:
            load_policy(network, spec.checkpoint)
        if spec.learner.gradient_checkpointing:
            network.gradient_checkpointing_enable({"use_reentrant": False})
        network.train()
        self.policy = Policy(
            network,
            self.family,
            forbidden_tokens=self.family.forbidden_tokens(self._processor),
            temperature=spec.temperature,
        )
        self._deepspeed, self._optimizer, *_ = deepspeed.initialize(
            model=self.policy,
            optimizer=self._build_optimizer(network),
            config=deepspeed_config(spec),
        )
        self.source = LearnerWeights(
            merged_weights(network, lora_scale(spec.learner)), self.family.wire_name
        )
        if spec.checkpoint:
            load_optimizer_state(self._deepspeed, network, spec.checkpoint, self._any_forward)

    def _build_optimizer(self, network: nn.Module) -> torch.optim.Optimizer:
        c = self.spec.learner
        settings: dict[str, Any] = {
            "lr": c.lr,
            "betas": c.betas,
            "eps": c.eps,
            "weight_decay": c.weight_decay,
        }
        trained = [param for param in network.parameters() if param.requires_grad]
        if c.offload_optimizer:
            from deepspeed.ops.adam import DeepSpeedCPUAdam

            return DeepSpeedCPUAdam(trained, **settings)
        return torch.optim.AdamW(trained, **settings)

    def step(self, rows: Sequence[Row], step: int) -> dict[str, float]:
        """Take one optimizer step on this rank's share of the rows.

        Every rank runs the same number of forward and backward passes, as ZeRO-3 requires: a rank
        with fewer rows than that repeats its smallest micro-batch with weight 0.

        Args:
            rows: this rank's groups with the weight of their tokens in the whole step's loss.
            step: optimizer steps done before this one.

        Returns:
            Metrics over the whole step, the same on every rank.

        Raises:
            NonFiniteLossError: the loss or the gradient is NaN or infinite; nothing was changed.
        """
        # Dropout is a function of seed, step and rank: a resumed run draws the same.
        torch.manual_seed(hash((self.spec.seed, step, self.spec.rank)) % 2**63)
        lr = learning_rate(self.spec.learner, step, self.spec.max_steps)
        for group in self._optimizer.param_groups:
            group["lr"] = lr
        seen = self._passes(rows)
        norm = self._optimizer_step()
        return self._over_ranks(seen) | {"learner/lr": lr, "learner/grad_norm": norm}

    def _passes(self, rows: Sequence[Row]) -> list[Metrics]:
        """Forward and backward over all rows; sums and maxima of each micro-batch."""
        tokens = [row.rollout.num_tokens for row in rows]
        limit = self.spec.learner.micro_batch_tokens
        num_passes = self._most_of_any_rank(len(split_rows(tokens, limit)))
        parts = split_rows(tokens, limit, at_least=num_passes)
        batches = [MicroBatch.of([rows[i] for i in part], self.device) for part in parts]
        seen: list[Metrics] = []
        for number in range(num_passes):
            is_idle = number >= len(batches)
            batch = batches[-1].without_weight() if is_idle else batches[number]
            loss, metrics = self._loss(batch)
            if not is_idle:
                seen.append(metrics | {"loss_sum": loss.detach()})
            self._require_finite(loss)
            self._deepspeed.set_gradient_accumulation_boundary(number == num_passes - 1)
            # DeepSpeed averages over ranks; the weights already make the sum the right one.
            self._deepspeed.backward(loss * self.spec.world_size)
        return seen

    def _optimizer_step(self) -> float:
        """Clip and step; returns the gradient's norm before clipping."""
        if self.spec.learner.zero_stage == 0:
            # DeepSpeed reports no norm then, but leaves the whole gradient to look at.
            grads = [p.grad for p in self.policy.parameters() if p.grad is not None]
            norm = _finite(torch.nn.utils.get_total_norm(grads))
            self._deepspeed.step()
            return norm
        self._deepspeed.step()  # which takes none on a norm that is not finite, and goes on
        return _finite(self._deepspeed.get_global_grad_norm())

    def _most_of_any_rank(self, number: int) -> int:
        most = torch.tensor(number, device=self.device)
        dist.all_reduce(most, dist.ReduceOp.MAX)
        return int(most)

    def _loss(self, batch: MicroBatch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        a = self.spec.algo
        logprobs_N = self._deepspeed(batch.rows)
        if a.kind == "supervised":
            return likelihood_loss(logprobs_N, batch.weights_N)
        return grpo_loss(
            logprobs_N,
            batch.rollout_logprobs_N,
            batch.advantages_N,
            batch.weights_N,
            ref_logprobs=batch.ref_logprobs_N,
            beta=a.beta,
            clip_low=a.clip_low,
            clip_high=a.clip_high,
            old_logprobs=a.old_logprobs,
            importance_cap=a.importance_cap,
        )

    def _require_finite(self, loss: torch.Tensor) -> None:
        """All ranks stop together, or none would leave the next collective."""
        is_bad = (~torch.isfinite(loss.detach())).int()
        dist.all_reduce(is_bad, dist.ReduceOp.MAX)
        if is_bad:
            raise NonFiniteLossError("the loss is NaN or infinite")

    def _over_ranks(self, seen: Sequence[Metrics]) -> dict[str, float]:
        """Means over all tokens of the step and maxima, from every rank's sums and maxima."""
        sums = [name for name in seen[0] if name.endswith("_sum")]
        maxima = [name for name in seen[0] if name.endswith("_max")]
        summed = torch.stack([torch.stack([m[n] for m in seen]).sum() for n in sums]).double()
        most = torch.tensor([float(torch.stack([m[n] for m in seen]).max()) for n in maxima])
        most = most.double().to(self.device)
        dist.all_reduce(summed)
        dist.all_reduce(most, dist.ReduceOp.MAX)
        total = dict(zip(sums, summed.tolist(), strict=True))
        num_tokens, loss = total.pop("tokens_sum"), total.pop("loss_sum")
        means = {n.removesuffix("_sum") + "_mean": v / num_tokens for n, v in total.items()}
        return means | dict(zip(maxima, most.tolist(), strict=True)) | {"loss/total": loss}

    def _any_forward(self) -> torch.Tensor:
        ids = self.family.prompt_ids(self._processor, "", NUM_PROBE_FRAMES)
        mel = np.zeros((NUM_MEL_BINS, NUM_PROBE_FRAMES), np.float32)
        last = np.asarray(ids[-1:])
        logprobs: torch.Tensor = self._deepspeed(
            PackedRows.pack([np.asarray(ids)], [[last]], [mel], self.device)
        )
        return logprobs

    def sleep(self) -> None:
        """Let go of the GPU's memory; the weights lie on the host until `wake`.

        Optimizer and master weights lie there anyway (``learner.offload_optimizer``).
        """
        self._deepspeed.offload_states(ASLEEP, pin_memory=self.spec.on_gpu)

    def wake(self) -> None:
        """Be ready for anything else than sleeping."""
        self._deepspeed.reload_states()

    def save(self, folder: Path) -> None:
        """Write policy and optimizer; every rank calls it, rank 0 writes."""
        scale = lora_scale(self.spec.learner)
        save_optimizer_state(
            self._deepspeed,
            self.policy.network,
            folder,
            is_writer=self.spec.rank == 0,
            notes={} if scale is None else {SCALE: str(scale)},
        )


def learning_rate(config: LearnerConfig, step: int, max_steps: int) -> float:
    """The rate of the optimizer step number ``step`` (from 0): warm-up, then linear or constant.

    A pure function of the step, so that a resumed run needs no scheduler state.
    """
    if step < config.warmup_steps:
        return config.lr * (step + 1) / config.warmup_steps
    if config.lr_schedule == "constant":
        return config.lr
    return config.lr * max(0, max_steps - step) / max(1, max_steps - config.warmup_steps)


def deepspeed_config(spec: LearnerSpec) -> dict[str, Any]:
    """What DeepSpeed is told; gradient accumulation is counted by `LearnerEngine.step` itself."""
    c = spec.learner
    zero: dict[str, Any] = {"stage": c.zero_stage, "contiguous_gradients": spec.on_gpu}
    if c.offload_optimizer:
        zero["offload_optimizer"] = {"device": "cpu", "pin_memory": spec.on_gpu}
    return {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "gradient_clipping": c.max_grad_norm,
        "zero_optimization": zero,
        "zero_allow_untested_optimizer": True,
        "bf16": {"enabled": spec.dtype == "bfloat16", "check_grad_overflow": True},
        "steps_per_print": 2**62,
    }


def _finite(norm: Any) -> float:
    if not math.isfinite(norm):
        raise NonFiniteLossError("the gradient is NaN or infinite")
    return float(norm)


def _join_ranks(spec: LearnerSpec, door: socket.socket | None) -> None:
    os.environ.update(
        RANK=str(spec.rank),
        WORLD_SIZE=str(spec.world_size),
        LOCAL_RANK="0",  # Ray shows each actor its own devices only
        MASTER_ADDR=spec.master_address,
        MASTER_PORT=str(spec.master_port),
    )
    prepare_operators(on_gpu=spec.on_gpu)
    if not spec.on_gpu:
        torch.set_num_threads(spec.num_threads)
    store = dist.TCPStore(  # type: ignore[attr-defined]
        spec.master_address,
        spec.master_port,
        spec.world_size,
        is_master=spec.rank == 0,
        timeout=MEET_WITHIN,
        master_listen_fd=door.detach() if door else None,
    )
    backend = "nccl" if spec.on_gpu else "gloo"
    dist.init_process_group(backend, store=store, rank=spec.rank, world_size=spec.world_size)
    deepspeed.init_distributed(dist_backend=backend, auto_mpi_discovery=False, verbose=False)
