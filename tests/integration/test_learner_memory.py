"""What the planner says of weights and optimizer, against the tensors that DeepSpeed holds."""

import gc
import json
import os

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from keomni_rl.config.schema import AlgoConfig, LearnerConfig
from keomni_rl.engines.network import free_port
from keomni_rl.engines.specs import LearnerSpec
from keomni_rl.models.tiny import build_tiny
from keomni_rl.planning.memory import ELEMENT, LIVE, States
from keomni_rl.planning.shape import model_shape

TOLERANCE = 0.05
"""Relative: padding of shards, scalars."""


def rank_main(rank, world, port, model, stage, dtype, out):
    from keomni_rl.engines.learner import LearnerEngine

    engine = LearnerEngine(
        LearnerSpec(
            model=model,
            dtype=dtype,
            learner=LearnerConfig(zero_stage=stage),
            algo=AlgoConfig(),
            max_steps=100,
            temperature=1.0,
            rank=rank,
            world_size=world,
            master_port=port,
            on_gpu=False,
            num_threads=1,
        )
    )
    # One step on a silent clip makes the optimizer's states.
    engine._deepspeed.set_gradient_accumulation_boundary(True)
    engine._deepspeed.backward(engine._any_forward().sum())
    engine._deepspeed.step()
    gc.collect()
    held = {}
    for found in gc.get_objects():
        if isinstance(found, torch.Tensor):
            for tensor in (found, getattr(found, "ds_tensor", None)):
                if tensor is not None and tensor.device.type == "cpu":
                    storage = tensor.untyped_storage()
                    held[storage.data_ptr()] = storage.nbytes()
    for buffer in engine.policy.buffers():  # tables of positions, which no plan counts
        held.pop(buffer.untyped_storage().data_ptr(), None)
    (out / f"{rank}.json").write_text(json.dumps(sum(held.values())))
    dist.barrier()
    os._exit(0)  # gloo's teardown complains of peers that were quicker


@pytest.mark.parametrize(
    ("world", "stage", "dtype"),
    [(1, 0, "float32"), (2, 1, "bfloat16"), (2, 2, "float32"), (2, 3, "bfloat16")],
)
def test_weights_and_optimizer_are_what_the_plan_says(tmp_path, world, stage, dtype):
    model = build_tiny(tmp_path / "model", ["What is heard?"] * 20, seed=0)
    arguments = (world, free_port(), model, stage, dtype, tmp_path)
    context = mp.get_context("spawn")
    ranks = [context.Process(target=rank_main, args=(r, *arguments)) for r in range(world)]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join()
        assert rank.exitcode == 0
    shape = model_shape(model, LearnerConfig())
    told = States.of(shape, stage=stage, ranks=world, dtype=dtype)
    wanted = told.weights + told.optimizer
    if stage == 3:  # a model this small stays gathered: the plan counts that to the buffers
        wanted += min(LIVE, shape.num_parameters) * ELEMENT[dtype]
    for rank in range(world):
        held = json.loads((tmp_path / f"{rank}.json").read_text())
        assert held == pytest.approx(wanted, rel=TOLERANCE)
