"""The real DeepSpeed learner on gloo ranks: any stage takes the same step, a checkpoint is exact."""

import os

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from safetensors.torch import load_file, save_file

from keomni_rl.algorithms.advantage import group_advantages
from keomni_rl.algorithms.aggregation import token_weights
from keomni_rl.config.schema import AlgoConfig, LearnerConfig
from keomni_rl.data.audio import log_mel
from keomni_rl.engines.network import free_port
from keomni_rl.engines.specs import LearnerSpec
from keomni_rl.errors import NonFiniteLossError
from keomni_rl.models.family import find_family
from keomni_rl.types import (
    Clip,
    Completion,
    FinishReason,
    Group,
    GroupKey,
    Prompt,
    Question,
    RolloutGroup,
)

NUM_GROUPS, G = 5, 4


def make_rows(model):
    """Five groups of unlike prompts and lengths, so that ranks have unequal work."""
    from keomni_rl.engines.rows import Row

    family = find_family(model)
    processor = family.load_processor(model)
    rng = np.random.default_rng(0)
    rollouts, clips = [], []
    for number in range(NUM_GROUPS):
        samples = (rng.standard_normal(9_000 + 4_000 * number) * 0.1).astype(np.float32)
        clips.append(Clip(samples=samples, mel=log_mel(samples)))
        ids = family.prompt_ids(processor, f"heard {number}", clips[-1].mel.shape[1])
        completions = []
        for length in rng.integers(1, 15, G):
            logprobs = rng.standard_normal(length) * 0.1 - 6
            completions.append(
                Completion(
                    token_ids=rng.integers(0, 250, length).astype(np.int32),
                    rollout_logprobs=logprobs.astype(np.float32),
                    text="",
                    finish_reason=FinishReason.STOP,
                    policy_version=(0, 0),
                )
            )
        question = Question(id=str(number), question="?", choices=("a", "b"), answer="a", audio="")
        group = Group(
            key=GroupKey("test", number),
            prompt=Prompt(question=question, text=""),
            prompt_ids=np.asarray(ids, np.int32),
            completions=tuple(completions),
        )
        rollouts.append(
            RolloutGroup(
                group=group,
                rewards=(),
                advantages=group_advantages(rng.standard_normal(G).tolist()),
                ref_logprobs=tuple(c.rollout_logprobs + np.float32(0.05) for c in completions),
            )
        )
    lengths = [len(c.token_ids) for r in rollouts for c in r.group.completions]
    weights = token_weights(lengths, "sequence").reshape(NUM_GROUPS, G)
    return [Row(r, c, w) for r, c, w in zip(rollouts, clips, weights)]


def rank_main(rank, world, port, model, stage, settings, steps, checkpoint, beta, naps, out):
    from keomni_rl.engines.adapter_merge import AdapterMerger
    from keomni_rl.engines.learner import LearnerEngine

    engine = LearnerEngine(
        LearnerSpec(
            model=model,
            dtype="float32",
            learner=LearnerConfig(
                lr=1e-3,
                zero_stage=stage,
                lr_schedule="constant",
                micro_batch_tokens=200,
                **settings,
            ),
            algo=AlgoConfig(beta=beta),
            max_steps=100,
            temperature=1.0,
            rank=rank,
            world_size=world,
            master_port=port,
            on_gpu=False,
            num_threads=1,
            checkpoint=checkpoint,
        )
    )
    rows = make_rows(model)[rank::world]
    metrics = []
    try:
        for step in range(steps):
            if naps:
                engine.sleep()
                engine.wake()
            metrics.append(engine.step(rows, step))
    except NonFiniteLossError:
        metrics = [{"refused": 1.0}]
    sent = [(name, tensor.clone()) for name, tensor in engine.source]
    if rank == 0:
        out.mkdir()
        loaded = dict(AdapterMerger(torch.device("cpu")).merged(sent))
        save_file(loaded, out / "loaded.safetensors")
        last = {k: torch.tensor(v, dtype=torch.float64) for k, v in metrics[-1].items()}
        save_file(last, out / "metrics.safetensors")
    dist.barrier()
    if "refused" not in metrics[-1]:
        (out / "state").mkdir(exist_ok=True)
        engine.save(out / "state")
        dist.barrier()
    os._exit(0)  # gloo's teardown complains of peers that were quicker


def learn(
    tmp_path,
    model,
    name,
    *,
    world=1,
    stage=0,
    steps=2,
    checkpoint=None,
    beta=0.01,
    naps=False,
    **settings,
):
    out = tmp_path / name
    arguments = (world, free_port(), model, stage, settings, steps, checkpoint, beta, naps, out)
    context = mp.get_context("spawn")
    ranks = [context.Process(target=rank_main, args=(r, *arguments)) for r in range(world)]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join(timeout=180)
        assert rank.exitcode == 0
    return out


@pytest.fixture(scope="module")
def plain(tmp_path_factory, inputs):
    """One rank without ZeRO: what all others must equal."""
    return learn(tmp_path_factory.mktemp("plain"), inputs.model, "plain", steps=2)


def difference(a, b):
    first, second = load_file(a / "loaded.safetensors"), load_file(b / "loaded.safetensors")
    assert first.keys() == second.keys()
    return max(float((first[n] - second[n]).abs().max()) for n in first)


def moved(a, model):
    start = find_family(model).load(model, torch.float32).state_dict()
    loaded = load_file(a / "loaded.safetensors")
    return max(
        float((loaded["thinker." + n] - t).abs().max())
        for n, t in start.items()
        if "thinker." + n in loaded
    )


@pytest.mark.parametrize(
    ("world", "stage", "settings"),
    [
        (2, 0, {}),
        (2, 1, {}),
        (2, 2, {"gradient_checkpointing": True}),
        (1, 3, {}),
        (2, 3, {}),
        (2, 3, {"gradient_checkpointing": True}),
    ],
)
def test_any_stage_on_any_ranks_takes_the_same_step(
    plain, inputs, tmp_path, world, stage, settings
):
    other = learn(tmp_path, inputs.model, "other", world=world, stage=stage, **settings)
    assert moved(plain, inputs.model) > 1e-3  # two steps of 1e-3 were taken
    assert difference(plain, other) < 1e-4  # AdamW turns rounding of tiny gradients into steps
    first, second = (load_file(d / "metrics.safetensors") for d in (plain, other))
    for name in first:
        assert float(second[name]) == pytest.approx(float(first[name]), rel=1e-3, abs=1e-6), name


def test_a_nap_between_steps_changes_nothing(plain, inputs, tmp_path):
    other = learn(tmp_path, inputs.model, "other", world=2, stage=3, naps=True)
    assert moved(other, inputs.model) > 1e-3
    assert difference(plain, other) < 1e-4


def test_going_on_from_a_checkpoint_is_exact(inputs, tmp_path):
    whole = learn(tmp_path, inputs.model, "whole", world=2, stage=3, steps=4)
    half = learn(tmp_path, inputs.model, "half", world=2, stage=3, steps=2)
    rest = learn(
        tmp_path, inputs.model, "rest", world=2, stage=3, steps=2, checkpoint=half / "state"
    )
    assert difference(whole, rest) == 0.0
    for kind in ("policy", "exp_avg", "exp_avg_sq"):
        a, b = (load_file(d / "state" / f"{kind}-00000.safetensors") for d in (whole, rest))
        assert all(torch.equal(a[n], b[n]) for n in a)


def test_ranks_and_stage_may_change_between_runs(inputs, tmp_path):
    whole = learn(tmp_path, inputs.model, "whole", world=1, stage=0, steps=3)
    half = learn(tmp_path, inputs.model, "half", world=2, stage=2, steps=2)
    rest = learn(
        tmp_path, inputs.model, "rest", world=1, stage=3, steps=1, checkpoint=half / "state"
    )
    assert difference(whole, rest) < 1e-4


def changed(a, model):
    """In-memory names of the loaded weights that are not the start's to the bit."""
    family = find_family(model)
    start = family.load(model, torch.float32).state_dict()
    loaded = load_file(a / "loaded.safetensors")
    wired = {family.wire_name(name): name for name in start}
    assert loaded.keys() <= wired.keys()
    return {wired[n] for n, t in loaded.items() if not torch.equal(t, start[wired[n]])}, set(start)


@pytest.mark.parametrize(("world", "stage"), [(1, 0), (2, 2), (2, 3)])
def test_a_gradient_that_overflows_changes_nothing(inputs, tmp_path, world, stage):
    one = learn(tmp_path, inputs.model, "one", world=world, stage=stage, steps=1, beta=1e38)
    assert load_file(one / "metrics.safetensors").keys() == {"refused"}
    moved_names, _ = changed(one, inputs.model)
    assert not moved_names


def test_a_frozen_audio_tower_stays_and_all_else_learns(inputs, tmp_path):
    one = learn(tmp_path, inputs.model, "one", trained="without_audio_tower")
    moved_names, names = changed(one, inputs.model)
    assert not [n for n in moved_names if n.startswith("audio_tower.")]
    assert len(moved_names) > 0.9 * len([n for n in names if not n.startswith("audio_tower.")])
    stored = load_file(one / "state" / "policy-00000.safetensors")
    assert not [n for n in stored if n.startswith("audio_tower.")]  # the base has it
    two = learn(tmp_path, inputs.model, "two", world=2, stage=3, trained="without_audio_tower")
    assert difference(one, two) < 1e-4


LORA = {"trained": "lora", "lora": {"rank": 4, "alpha": 16, "targets": ("q_proj", "v_proj")}}


def test_adapters_learn_alone_and_engines_get_the_merged_weights(inputs, tmp_path):
    one = learn(tmp_path, inputs.model, "one", steps=3, **LORA)
    moved_names, names = changed(one, inputs.model)
    targets = {
        n
        for n in names
        if n.startswith("model.layers.") and n.endswith(("q_proj.weight", "v_proj.weight"))
    }
    assert moved_names == targets
    assert len(targets) == 2 * 4
    stored = load_file(one / "state" / "policy-00000.safetensors")
    assert all(".lora_" in n for n in stored)
    assert len(stored) == 2 * len(targets)
    name = "model.layers.0.self_attn.q_proj"
    base = find_family(inputs.model).load(inputs.model, torch.float32)
    base = base.get_parameter(f"{name}.weight")
    down, up = stored[f"{name}.lora_A.default.weight"], stored[f"{name}.lora_B.default.weight"]
    loaded = load_file(one / "loaded.safetensors")[f"thinker.{name}.weight"]
    torch.testing.assert_close(loaded, base + 4.0 * up @ down, rtol=0, atol=1e-6)
    two = learn(tmp_path, inputs.model, "two", world=2, stage=3, steps=3, **LORA)
    assert difference(one, two) < 1e-4


def test_adapters_go_on_from_a_checkpoint_exactly(inputs, tmp_path):
    whole = learn(tmp_path, inputs.model, "whole", steps=4, **LORA)
    half = learn(tmp_path, inputs.model, "half", steps=2, **LORA)
    rest = learn(tmp_path, inputs.model, "rest", steps=2, checkpoint=half / "state", **LORA)
    assert difference(whole, rest) == 0.0
