"""Bytes that each role holds on one GPU, or in host memory where it has none.

Exact, from the model's shapes: weights, gradients, optimizer, KV cache of a token. Estimated, from
what autograd keeps of one packed row: activations, counted tensor by tensor below and held against
autograd's own account in the tests. Estimated roughly: buffers of DeepSpeed and vLLM, bounded by
their defaults. Not counted: the CUDA context and fragmentation (about 1 GiB a process).
"""

from dataclasses import dataclass
from typing import Self

from keomni_rl.config.schema import RunConfig
from keomni_rl.models.logprobs import CHUNK_LOGITS
from keomni_rl.planning.shape import ModelShape, Stack
from keomni_rl.planning.workload import Workload

GIB = 2**30
ELEMENT = {"float32": 4, "bfloat16": 2}
FLOAT32 = 4
MOMENTS = 2 * FLOAT32
"""AdamW's, of one parameter."""
MASTER = FLOAT32
"""The copy that DeepSpeed's ZeRO keeps of each trained parameter, also where that is float32."""
BUCKET = 500_000_000
"""Elements of DeepSpeed's reduce and all-gather buckets (its defaults)."""
LIVE = 1_000_000_000
"""Parameters that ZeRO-3 holds gathered at most (``stage3_max_live_parameters``'s default)."""
LOGIT_COPIES = 2
"""Float32 arrays of one chunk of logits that live at once while it goes backward."""
ENCODER_POSITIONS_PER_S = 50
BATCHED_TOKENS = 8192
"""That a vLLM engine works on at once while it takes prompts in (its default)."""


@dataclass(frozen=True, slots=True)
class Part:
    """One line of a role's memory."""

    name: str
    num_bytes: float
    how: str
    """What it comes from."""
    is_estimate: bool = False


@dataclass(frozen=True, slots=True)
class RoleMemory:
    """What one process of a role, on one of its GPUs, holds."""

    role: str
    on_gpu: bool
    parts: tuple[Part, ...]
    host_bytes: float = 0.0
    """In host memory beside the GPU's: an optimizer that is offloaded."""

    @property
    def num_bytes(self) -> float:
        """All of it."""
        return sum(part.num_bytes for part in self.parts)


def run_memory(
    config: RunConfig, shape: ModelShape, gpu_gib: float | None = None
) -> list[RoleMemory]:
    """Every role that the run has.

    Args:
        config: of the run.
        shape: of its model.
        gpu_gib: memory of each GPU, of which an engine takes its share; None tells what an engine
            needs for the completions that it may have at once.
    """
    longest = Workload.longest(config)
    found = [learner_memory(config, shape, longest)]
    if config.algo.kind == "grpo":
        found.append(engine_memory(config, shape, "rollout", longest, gpu_gib))
    if config.algo.beta > 0:
        found.append(reference_memory(config, shape, longest))
    if config.evaluation:
        found.append(engine_memory(config, shape, "evaluator", longest, gpu_gib))
    return found


@dataclass(frozen=True, slots=True)
class States:
    """Bytes of weights, gradients and optimizer on one rank of a ZeRO stage."""

    weights: float
    gradients: float
    optimizer: float

    @classmethod
    def of(cls, shape: ModelShape, *, stage: int, ranks: int, dtype: str) -> Self:
        """ZeRO (arXiv 1910.02054): 1 shares the optimizer out, 2 gradients too, 3 weights too."""
        element = ELEMENT[dtype]
        # Without ZeRO, float32 weights are their own masters.
        has_master = stage > 0 or dtype != "float32"
        per_trained = MOMENTS + (MASTER if has_master else 0)
        return cls(
            weights=shape.num_parameters * element / (ranks if stage == 3 else 1),
            gradients=shape.num_trained * element / (ranks if stage >= 2 else 1),
            optimizer=shape.num_trained * per_trained / (ranks if stage >= 1 else 1),
        )


def learner_memory(config: RunConfig, shape: ModelShape, longest: Workload) -> RoleMemory:
    """One learner rank at the longest row."""
    c, ranks, dtype = config.learner, config.placement.learner.actors, config.model.dtype
    states = States.of(shape, stage=c.zero_stage, ranks=ranks, dtype=dtype)
    shared = f"ZeRO-{c.zero_stage} over {ranks} rank{'s' if ranks > 1 else ''}"
    share = -(-longest.groups_per_step // ranks)
    rows = min(share, max(1, int(c.micro_batch_tokens // longest.row_tokens)))
    kept = rows * row_activations(
        shape, longest, dtype=dtype, checkpointing=c.gradient_checkpointing
    )
    on_gpu = config.placement.learner.gpus > 0
    is_offloaded = on_gpu and c.offload_optimizer
    optimizer = Part("optimizer", states.optimizer, f"AdamW in float32, {shared}")
    parts = [
        Part("weights", states.weights, f"{shape.num_parameters:,} parameters, {shared}"),
        Part("gradients", states.gradients, f"{shape.num_trained:,} trained, {shared}"),
        *([] if is_offloaded else [optimizer]),
        Part(
            "activations",
            kept,
            f"{rows} row{'s' if rows > 1 else ''} of {longest.row_tokens:,.0f} tokens, "
            f"{longest.audio_s:g} s of audio each"
            + (", recomputed layer by layer" if c.gradient_checkpointing else ""),
            is_estimate=True,
        ),
        Part(
            "logits",
            _logits(shape, rows * longest.new_tokens) * LOGIT_COPIES,
            f"one chunk in float32, {LOGIT_COPIES} times",
            is_estimate=True,
        ),
    ]
    if c.zero_stage:
        parts.append(
            Part(
                "buffers",
                _zero_buffers(shape, c.zero_stage, ranks, ELEMENT[dtype]),
                "DeepSpeed's buckets at their defaults",
                is_estimate=True,
            )
        )
    host = states.optimizer if is_offloaded else 0.0
    return RoleMemory("learner", on_gpu, tuple(parts), host)


def _zero_buffers(shape: ModelShape, stage: int, ranks: int, element: int) -> float:
    if ranks == 1:
        return 0.0
    bucket = min(BUCKET, shape.num_trained)
    gathered = min(LIVE, shape.num_parameters) if stage == 3 else bucket
    return (bucket + gathered) * element


def row_activations(
    shape: ModelShape, row: Workload, *, dtype: str, checkpointing: bool = False
) -> float:
    """Bytes that autograd keeps of one packed row for its backward pass.

    As the families run it: attention keeps its inputs and what goes on; that of completions is
    computed again (`keomni_rl.models.prefix_attention`).
    """
    element = ELEMENT[dtype]
    tokens, positions = row.row_tokens, row.audio_s * ENCODER_POSITIONS_PER_S
    decoder = tokens * _decoder_layer(shape.language_model, element)
    decoder += row.prompt_tokens * _prompt_attention(shape.language_model, element)
    encoder = positions * _encoder_layer(shape.audio_tower, element) if shape.hears else 0.0
    lm, tower = shape.language_model, shape.audio_tower
    around = tokens * lm.width * (FLOAT32 + element)
    if shape.hears:  # the convolutions see twice as many frames, in four steps
        around += positions * element * (9 * tower.width + 2 * 128)
    if not checkpointing:
        return around + lm.layers * decoder + tower.layers * encoder
    kept = tokens * lm.layers * lm.width
    if shape.hears:
        kept += positions * tower.layers * tower.width
    return around + kept * element + max(decoder, encoder)


def _decoder_layer(stack: Stack, element: int) -> float:
    """Of one token: two RMS norms (in float32, then scaled), attention, the gated feed-forward."""
    norms = 2 * stack.width * (FLOAT32 + element) + 2 * FLOAT32
    # Keys and values are repeated for their query heads before attention.
    attention = 4 * stack.heads * stack.head_dim * element
    return norms + attention + (2 * stack.width + 4 * stack.inner) * element


def _prompt_attention(stack: Stack, element: int) -> float:
    """Of one token of the prompt: its attention's own output, and one float32 a head."""
    return stack.heads * stack.head_dim * element + stack.heads * FLOAT32


def _encoder_layer(stack: Stack, element: int) -> float:
    """Of one position: two layer norms, attention, the feed-forward part."""
    return (8 * stack.width + 2 * stack.inner + 4) * element + stack.heads * FLOAT32


def _logits(shape: ModelShape, tokens: float) -> float:
    return min(CHUNK_LOGITS, tokens * shape.vocabulary) * FLOAT32


def reference_memory(config: RunConfig, shape: ModelShape, longest: Workload) -> RoleMemory:
    """A reference actor: the weights and one row's widest layer."""
    element = ELEMENT[config.model.dtype]
    return RoleMemory(
        "reference",
        config.placement.reference.gpus > 0,
        (
            Part("weights", shape.num_sent * element, f"{shape.num_sent:,} parameters"),
            Part(
                "activations",
                longest.row_tokens * _decoder_layer(shape.language_model, element),
                f"one layer of a row of {longest.row_tokens:,.0f} tokens",
                is_estimate=True,
            ),
            Part(
                "logits",
                _logits(shape, longest.new_tokens) * LOGIT_COPIES,
                f"one chunk in float32, {LOGIT_COPIES} times",
                is_estimate=True,
            ),
        ),
    )


@dataclass(frozen=True, slots=True)
class KvCache:
    """What the key-value cache of one engine holds."""

    bytes_per_token: float
    """On each of the engine's GPUs."""
    num_bytes: float
    completions: int
    """At once, with their group's prompt held once for all of it; no more than max_num_seqs."""


def kv_bytes_per_token(shape: ModelShape, dtype: str, tensor_parallel: int = 1) -> float:
    """Keys and values of one token in all layers, on one GPU."""
    lm = shape.language_model
    heads = max(1, lm.kv_heads // max(1, tensor_parallel))
    return 2 * lm.layers * heads * lm.head_dim * ELEMENT[dtype]


def kv_cache(
    config: RunConfig, shape: ModelShape, role: str, longest: Workload, gpu_gib: float | None
) -> KvCache:
    """The cache of one engine, and the completions of longest groups that it takes at once."""
    gpus: int = getattr(config.placement, role).gpus
    per_token = kv_bytes_per_token(shape, config.model.dtype, gpus)
    samples, new_tokens = _samples(config, role)
    most = config.engine.max_num_seqs
    group = longest.prompt_tokens + samples * new_tokens
    if not gpus:
        room = max(1, round(config.engine.kv_cache_gib)) * float(GIB)
    elif gpu_gib is None:
        room = -(-most // samples) * group * per_token
    else:
        rest = sum(part.num_bytes for part in _engine_parts(config, shape, role))
        room = max(0.0, gpu_gib * GIB * config.engine.gpu_memory_utilization - rest)
    return KvCache(per_token, room, min(most, int(room / per_token / group * samples)))


def _samples(config: RunConfig, role: str) -> tuple[int, int]:
    """Completions of one prompt, and the most tokens of each."""
    if role == "evaluator" and config.evaluation:
        return config.evaluation.samples, config.evaluation.max_new_tokens
    return config.rollout.group_size, config.rollout.max_new_tokens


def engine_memory(
    config: RunConfig, shape: ModelShape, role: str, longest: Workload, gpu_gib: float | None
) -> RoleMemory:
    """A vLLM engine on one of its GPUs; with ``gpu_gib``, its cache fills the engine's share."""
    cache = kv_cache(config, shape, role, longest, gpu_gib)
    part = Part(
        "KV cache",
        cache.num_bytes,
        f"{cache.bytes_per_token:,.0f} bytes a token, {cache.completions} completions at once",
        is_estimate=gpu_gib is not None,
    )
    on_gpu = getattr(config.placement, role).gpus > 0
    return RoleMemory(role, on_gpu, (*_engine_parts(config, shape, role), part))


def _engine_parts(config: RunConfig, shape: ModelShape, role: str) -> list[Part]:
    gpus = max(1, getattr(config.placement, role).gpus)
    element = ELEMENT[config.model.dtype]
    lm = shape.language_model
    working = BATCHED_TOKENS * (4 * lm.width + 2 * lm.inner / gpus) * element
    working += 2 * config.engine.max_num_seqs * shape.vocabulary * FLOAT32
    how = f"{shape.num_sent:,} parameters" + (f" over {gpus} GPUs" if gpus > 1 else "")
    return [
        Part("weights", shape.num_sent * element / gpus, how),
        Part(
            "working memory",
            working,
            f"{BATCHED_TOKENS} tokens in one layer, logits of {config.engine.max_num_seqs}",
            is_estimate=True,
        ),
    ]
