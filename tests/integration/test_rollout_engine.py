"""The real vLLM engine on CPU: what it samples, what it serves after new weights."""

import asyncio
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from vllm.distributed.weight_transfer.base import ModuleSource, ParamMeta

from keomni_rl.config.schema import LearnerConfig, LoraConfig, PromptConfig
from keomni_rl.data.audio import load_clip, log_mel
from keomni_rl.data.prompts import make_prompt
from keomni_rl.data.questions import QuestionFile
from keomni_rl.engines.adapter_parts import Adapter
from keomni_rl.engines.cpu_weight_sender import (
    CpuTrainerInitInfo,
    CpuTrainerWeightTransferEngine,
)
from keomni_rl.engines.rollout import RolloutEngine
from keomni_rl.engines.specs import EngineSpec, Sampling
from keomni_rl.engines.weight_source import LearnerWeights, ZeroWeightSource, num_bytes
from keomni_rl.models.adapters import choose_trained, lora_scale, merge_stored, merged_weights
from keomni_rl.models.family import find_family
from keomni_rl.models.shared_prefix import PackedRows, Policy
from keomni_rl.models.tiny import build_tiny
from keomni_rl.types import Clip, FinishReason, GroupKey

SAMPLING = Sampling(num_completions=4, max_new_tokens=24, temperature=1.0, seed=5)


class Source(ModuleSource):
    """The network's weights under their wire names."""

    def __init__(self, network, family):
        super().__init__(network)
        self.wire_name = family.wire_name

    def metadata(self):
        metas = super().metadata()
        return [ParamMeta(self.wire_name(m.name), m.dtype, m.shape) for m in metas]

    def __iter__(self):
        return ((self.wire_name(name), tensor.detach()) for name, tensor in super().__iter__())


class Client:
    """Calls the engine from the sender's thread, as Ray calls would."""

    def __init__(self, engine, loop):
        self.engine, self.loop, self.version, self.num_updates = engine, loop, 0, 0
        self.is_far = False

    def _run(self, call):
        return asyncio.run_coroutine_threadsafe(call, self.loop).result(timeout=60)

    def init_weight_transfer_engine(self, init_info):
        self._run(self.engine.init_weight_transfer(init_info))

    def stage_weights(self, parts):
        self.parts, self.paths = parts, [part.buffer.path for part in parts]
        if self.is_far:
            self.paths = self.engine.stage_weights(*(part.buffer.bytes.numpy() for part in parts))

    def start_weight_update(self):
        self._run(self.engine.start_weight_update())

    def update_weights(self, update_info):
        self.num_updates += 1
        described = [part.describe() for part in self.parts]
        parts = [part | {"path": path} for part, path in zip(described, self.paths)]
        self._run(self.engine.update_weights({"parts": parts}))

    def finish_weight_update(self, weight_version=None):
        self.pause_s = self._run(self.engine.finish_weight_update(self.version))


class Bench:
    """One engine with a network of ours beside it."""

    def __init__(self, model, questions, loop):
        self.model, self.loop = model, loop
        self.family = find_family(model)
        self.network = self.family.load(model, torch.float32)
        self.processor = self.family.load_processor(model)
        forbidden = self.family.forbidden_tokens(self.processor)
        self.policy = Policy(self.network, self.family, forbidden_tokens=forbidden)
        self.engine = RolloutEngine(
            EngineSpec(
                model=model,
                dtype="float32",
                awaits_weights=True,
                max_model_len=1024,
                max_num_seqs=64,
                tensor_parallel=0,
                gpu_memory_utilization=0.9,
                kv_cache_gib=1,
                num_threads=2,
                backend="cpu",
            )
        )
        self.client = Client(self.engine, loop)
        self.prompts = [make_prompt(questions[i], PromptConfig()) for i in range(6)]
        self.clips = [load_clip(p.question.audio, max_audio_s=30) for p in self.prompts]
        self.number = 0

    async def send(self, version):
        await self.publish(await self.connect(Source(self.network, self.family)), version)

    async def connect(self, source):
        return await asyncio.to_thread(
            CpuTrainerWeightTransferEngine.trainer_init,
            CpuTrainerInitInfo(rank=0),
            client=self.client,
            source=source,
        )

    async def publish(self, sender, version):
        self.client.version = version
        await asyncio.to_thread(sender.send_weights)

    async def sample(self, sampling=SAMPLING):
        self.number += 1
        return await asyncio.gather(
            *(
                self.engine.generate(GroupKey(f"run{self.number}", i), p, c, sampling)
                for i, (p, c) in enumerate(zip(self.prompts, self.clips))
            )
        )

    def largest_difference(self, groups, policy=None) -> float:
        policy = policy or self.policy
        rows = PackedRows.pack(
            [g.prompt_ids for g in groups],
            [[c.token_ids for c in g.completions] for g in groups],
            [c.mel for c in self.clips],
        )
        sampled = np.concatenate([c.rollout_logprobs for g in groups for c in g.completions])
        with torch.no_grad():
            return float((policy(rows) - torch.from_numpy(sampled)).abs().max())


@pytest.fixture(scope="module")
def loop():
    with asyncio.Runner() as runner:  # ends vLLM's background tasks before the loop
        yield runner.get_loop()


@contextmanager
def started(model, inputs, loop):
    async def build():
        bench = Bench(model, QuestionFile(inputs.train), loop)
        await bench.send(1)
        return bench

    bench = loop.run_until_complete(build())
    yield bench
    bench.engine.shutdown()


@pytest.fixture(scope="module")
def bench(inputs, loop):
    with started(inputs.model, inputs, loop) as bench:
        yield bench


@pytest.fixture(scope="module")
def qwen2_audio_bench(inputs, loop, tmp_path_factory):
    """A random model of the other family, one clip of which fills the window of its extractor."""
    out = tmp_path_factory.mktemp("tiny") / "qwen2_audio"
    model = build_tiny(out, ["What sound is heard?"] * 9, seed=0, family="qwen2_audio")
    with started(model, inputs, loop) as bench:
        rng = np.random.default_rng(0)
        samples = (rng.standard_normal(480_000) * 0.1).astype(np.float32)
        bench.clips[-1] = Clip(samples=samples, mel=log_mel(samples, window_s=30))
        yield bench


@pytest.fixture(params=["bench", "qwen2_audio_bench"])
def any_bench(request):
    """The test runs with each family's engine."""
    return request.getfixturevalue(request.param)


def test_engine_and_learner_agree_and_see_the_same_tokens(any_bench, loop):
    bench = any_bench
    groups = loop.run_until_complete(bench.sample())
    assert bench.largest_difference(groups) < 1e-5
    eos = bench.processor.tokenizer.eos_token_id
    for group, prompt, clip in zip(groups, bench.prompts, bench.clips):
        ids = bench.family.prompt_ids(bench.processor, prompt.text, clip.mel.shape[1])
        assert group.prompt_ids.tolist() == ids
        for completion in group.completions:
            assert len(completion.token_ids) == len(completion.rollout_logprobs)
            is_stop = completion.finish_reason == FinishReason.STOP
            assert is_stop == (completion.token_ids[-1] == eos)


def test_the_same_seed_gives_the_same_group(bench, loop):
    async def twice():
        return await bench.sample(), await bench.sample()

    first, second = loop.run_until_complete(twice())
    for a, b in zip(first, second):
        for c, d in zip(a.completions, b.completions):
            assert c.token_ids.tolist() == d.token_ids.tolist()
    tokens = [tuple(c.token_ids.tolist()) for c in first[0].completions]
    assert len(set(tokens)) > 1  # and the completions of a group differ


def test_names_that_do_not_fit_are_found(any_bench, loop):
    bench = any_bench
    names = [m.name for m in Source(bench.network, bench.family).metadata()]
    assert loop.run_until_complete(bench.engine.compare_weight_names(names)) == ([], [])
    changed = [n for n in names if not n.endswith("layers.1.self_attn.k_proj.weight")]
    extra = bench.family.wire_name(f"{bench.family.language_model}.extra.weight")
    missing, unknown = loop.run_until_complete(bench.engine.compare_weight_names([*changed, extra]))
    assert missing == [
        "audio_tower.layers.1.self_attn.k_proj.weight",
        "language_model.model.layers.1.self_attn.k_proj.weight",
    ]
    assert unknown == ["language_model.model.extra.weight"]


def test_a_withheld_transfer_shows_and_a_new_audio_tower_is_heard(any_bench, loop):
    """Only the audio tower changes: cached audio embeddings must go with the weights."""
    bench = any_bench

    async def scenario():
        before = await bench.sample()
        torch.manual_seed(0)
        with torch.no_grad():
            tower = bench.network.get_submodule(bench.family.audio_tower)
            for parameter in tower.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.05)
        withheld = await bench.sample()
        updates = bench.client.num_updates
        await bench.send(2)
        return before, withheld, await bench.sample(), bench.client.num_updates - updates

    before, withheld, after, num_updates = loop.run_until_complete(scenario())
    assert bench.largest_difference(before) > 1e-2  # the network moved on, the engine had not
    assert bench.largest_difference(withheld) > 1e-2
    assert bench.largest_difference(after) < 1e-5
    assert num_updates == 1  # one call, however many parameters
    versions = [
        {c.policy_version for g in groups for c in g.completions} for groups in (withheld, after)
    ]
    assert versions == [{(1, 1)}, {(2, 2)}]


@pytest.fixture(scope="module")
def uniform(bench, loop):
    """The bench with a policy that says anything with equal chance, so that it talks on."""
    with torch.no_grad():
        bench.network.lm_head.weight.zero_()
    loop.run_until_complete(bench.send(3))
    return bench


def test_completions_in_flight_go_on_under_new_weights(uniform, loop):
    async def scenario():
        long = Sampling(num_completions=8, max_new_tokens=400, temperature=1.0, seed=1)
        started = asyncio.create_task(uniform.sample(long))
        await asyncio.sleep(0.7)
        await uniform.send(4)
        return await started

    groups = loop.run_until_complete(scenario())
    completions = [c for g in groups for c in g.completions]
    assert (3, 4) in {c.policy_version for c in completions}
    assert max(len(c.token_ids) for c in completions) == 400  # none was cut by the update
    assert uniform.largest_difference(groups) < 1e-5


def test_completions_that_found_their_clip_computed_go_on_under_new_weights(uniform, loop):
    """Their prompt was another's, which has ended: its sound is computed anew all the same."""

    async def scenario():
        short = Sampling(num_completions=1, max_new_tokens=1, temperature=1.0, seed=1)
        long = Sampling(num_completions=8, max_new_tokens=400, temperature=1.0, seed=1)
        await uniform.sample(short)
        started = asyncio.create_task(uniform.sample(long))
        await asyncio.sleep(0.7)
        await uniform.send(4)
        assert not started.done()
        return await started

    groups = loop.run_until_complete(scenario())
    assert max(len(c.token_ids) for g in groups for c in g.completions) == 400
    assert uniform.largest_difference(groups) < 1e-5


def test_completions_in_flight_may_end_before_new_weights_come(uniform, loop, monkeypatch):
    monkeypatch.setattr(uniform.engine, "_pause", "wait")  # rollout.in_flight: finish

    async def scenario():
        long = Sampling(num_completions=8, max_new_tokens=200, temperature=1.0, seed=2)
        started = asyncio.create_task(uniform.sample(long))
        await asyncio.sleep(0.3)
        await uniform.send(5)
        return await started

    groups = loop.run_until_complete(scenario())
    assert {c.policy_version for g in groups for c in g.completions} == {(4, 4)}
    short = Sampling(num_completions=2, max_new_tokens=4, temperature=1.0, seed=2)
    [group, *_] = loop.run_until_complete(uniform.sample(short))
    assert group.completions[0].policy_version == (5, 5)


def test_an_engine_that_has_slept_goes_on_under_the_weights_it_was_woken_for(uniform, loop):
    async def scenario():
        await uniform.engine.sleep()
        await uniform.engine.wake("weights")
        await uniform.send(6)
        await uniform.engine.wake("kv_cache")
        return await uniform.sample(
            Sampling(num_completions=2, max_new_tokens=8, temperature=1.0, seed=2)
        )

    groups = loop.run_until_complete(scenario())
    assert {c.policy_version for g in groups for c in g.completions} == {(6, 6)}
    assert uniform.largest_difference(groups) < 1e-5


def test_placeholder_tokens_are_never_sampled(uniform, loop):
    many = Sampling(num_completions=8, max_new_tokens=200, temperature=1.0, seed=3)
    groups = loop.run_until_complete(uniform.sample(many))
    sampled = [t for g in groups for c in g.completions for t in c.token_ids.tolist()]
    forbidden = set(uniform.policy.forbidden_tokens)
    # So many would be expected if they were allowed.
    assert len(sampled) * len(forbidden) / uniform.network.lm_head.out_features > 10
    assert not forbidden & set(sampled)


SAID = ("token_ids", "rollout_logprobs")


class Adapted:
    """A network beside the bench's own, of which only adapters of two fused matrices learn."""

    def __init__(self, bench):
        config = LearnerConfig(trained="lora", lora=LoraConfig(targets=("q_proj", "gate_proj")))
        self.network = bench.family.load(bench.model, torch.float32)
        choose_trained(self.network, bench.family, config, seed=0)
        self.policy = Policy(
            self.network, bench.family, forbidden_tokens=bench.policy.forbidden_tokens
        )
        self.scale = lora_scale(config)
        self.weights = list(merged_weights(self.network, self.scale))
        self.source = LearnerWeights(self.weights, bench.family.wire_name)
        self.family, self.model = bench.family, bench.model

    def learn(self, seed, size=0.05):
        torch.manual_seed(seed)
        with torch.no_grad():
            for parameter in self.network.parameters():
                if parameter.requires_grad:
                    parameter.add_(torch.randn_like(parameter) * size)

    def without_what_is_fused(self):
        adapters = [Adapter(weight) for weight in self.weights if weight.is_adapted]
        return ZeroWeightSource(adapters, self.family.wire_name)

    def exported(self):
        """A plain network with the weights that an export of this one writes."""
        plain = self.family.load(self.model, torch.float32)
        base = [(name, p.detach().clone()) for name, p in plain.named_parameters()]
        stored = {name: p.detach() for name, p in self.network.named_parameters()}
        plain.load_state_dict(dict(merge_stored(stored, iter(base), self.scale)), strict=False)
        return plain


def test_what_a_step_may_have_changed_is_enough_after_all_was_sent(any_bench, loop):
    bench, adapted = any_bench, Adapted(any_bench)
    changing = adapted.source.changing.metadata()
    layers = bench.network.get_submodule(bench.family.language_model).layers
    assert len(changing) == 5 * len(layers)  # q, k, v, gate, up
    learnt = [p for p in adapted.network.parameters() if p.requires_grad]
    assert num_bytes(changing) == sum(p.nbytes for p in learnt)
    assert num_bytes(changing) < num_bytes(adapted.source.metadata()) / 20

    async def scenario():
        sender = await bench.connect(adapted.source)
        await bench.publish(sender, 10)
        sender.source = adapted.source.changing
        differences = []
        for number in range(1, 4):
            bench.client.is_far = number == 3
            adapted.learn(number)
            stale = bench.largest_difference(await bench.sample(), adapted.policy)
            await bench.publish(sender, 10 + number)
            fresh = bench.largest_difference(await bench.sample(), adapted.policy)
            differences.append((stale, fresh))
        bench.client.is_far = False
        sender.source = adapted.without_what_is_fused()
        await bench.publish(sender, 14)
        broken = bench.largest_difference(await bench.sample(), adapted.policy)
        return differences, broken

    differences, broken = loop.run_until_complete(scenario())
    for stale, fresh in differences:
        assert stale > 1e-3
        assert fresh < 1e-5
    # vLLM makes a fused parameter anew: what is fused with one that learns has to go with it.
    assert not broken < 1e-3


def test_an_engine_that_got_adapters_is_the_exported_model(any_bench, loop):
    """With the same seeds it says the same, with the same probabilities."""
    bench, adapted = any_bench, Adapted(any_bench)

    async def said():
        completions = [c for g in await bench.sample() for c in g.completions]
        return (np.concatenate([getattr(c, name) for c in completions]) for name in SAID)

    async def scenario():
        sender = await bench.connect(adapted.source)
        await bench.publish(sender, 15)
        base = await said()
        adapted.learn(5, size=0.3)
        sender.source = adapted.source.changing
        await bench.publish(sender, 16)
        learnt = await said()
        plain = Source(adapted.exported(), bench.family)
        await bench.publish(await bench.connect(plain), 17)
        return base, learnt, await said()

    (base, _), (tokens, logprobs), (told, told_logprobs) = loop.run_until_complete(scenario())
    assert not np.array_equal(base, tokens)
    assert np.array_equal(tokens, told)
    assert np.abs(logprobs - told_logprobs).max() < 1e-5


def test_an_update_that_a_lost_learner_left_open_is_no_hindrance_to_the_next(any_bench, loop):
    bench, adapted = any_bench, Adapted(any_bench)

    async def scenario():
        sampling = asyncio.create_task(bench.sample())
        await asyncio.to_thread(bench.client.start_weight_update)
        await bench.publish(await bench.connect(adapted.source), 20)
        await sampling
        return await bench.sample()

    groups = loop.run_until_complete(scenario())
    assert bench.largest_difference(groups, adapted.policy) < 1e-5
    assert {c.policy_version for g in groups for c in g.completions} == {(20, 20)}


def test_an_engine_refuses_adapters_on_what_it_was_never_sent(any_bench, loop):
    """The last of these tests: an engine that could not load is of no use any more."""
    bench, adapted = any_bench, Adapted(any_bench)

    async def scenario():
        sender = await bench.connect(adapted.source)
        sender.source = adapted.source.changing
        await bench.publish(sender, 30)

    with pytest.raises(Exception, match=r"an adapter came for .*_proj\.weight.*never sent"):
        loop.run_until_complete(scenario())
