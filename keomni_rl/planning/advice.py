"""What a plan warns of: one line for each thing that would fail, wait for ever or be wasted."""

from collections.abc import Iterator, Sequence

from keomni_rl.config.placement import RolePlacement
from keomni_rl.config.schema import RunConfig
from keomni_rl.planning.memory import GIB, RoleMemory, kv_cache
from keomni_rl.planning.shape import ModelShape
from keomni_rl.planning.workload import TEXT_TOKENS, Workload, audio_tokens

GPUS_PER_NODE = 8
"""Of the nodes that GPU clusters are made of."""


def advise(
    config: RunConfig, shape: ModelShape, memory: Sequence[RoleMemory], gpu_gib: float | None
) -> list[str]:
    """Lines for people; none where nothing stands against the run.

    Args:
        config: of the run.
        shape: of its model.
        memory: of its roles, as `keomni_rl.planning.memory.run_memory` tells it.
        gpu_gib: memory of each GPU, if it is known.
    """
    lines = [line for role in _engines(memory) for line in _tensor_parallel(config, shape, role)]
    lines += _lengths(config)
    lines += _ranks(config)
    if gpu_gib is not None:
        lines += [line for role in memory for line in _room(config, shape, role, gpu_gib)]
        if config.placement.colocated:
            lines += _turns(memory, gpu_gib)
    return lines


def _engines(memory: Sequence[RoleMemory]) -> list[str]:
    return [role.role for role in memory if role.role in ("rollout", "evaluator")]


def _tensor_parallel(config: RunConfig, shape: ModelShape, role: str) -> Iterator[str]:
    size = getattr(config.placement, role).gpus
    key = f"placement.{role}.gpus: {size}"
    if size <= 1:
        return
    for what, heads in (
        ("the audio tower's", shape.audio_tower.heads),
        ("the language model's", shape.language_model.heads),
    ):
        if heads % size:
            dividers = ", ".join(str(n) for n in range(1, GPUS_PER_NODE + 1) if heads % n == 0)
            yield f"{key} does not divide {what} {heads} heads; possible are {dividers}"
    kv_heads = shape.language_model.kv_heads
    if max(kv_heads, size) % min(kv_heads, size):
        yield f"{key} and the {kv_heads} key-value heads: one must divide the other"
    elif size > kv_heads:
        yield (
            f"{key} exceeds the {kv_heads} key-value heads: they are kept {size // kv_heads} "
            "times; more actors with fewer GPUs have more room"
        )
    if size > GPUS_PER_NODE:
        yield (
            f"{key}, but an engine lives within one node, which has {GPUS_PER_NODE} GPUs as a "
            "rule; raise the number of actors in its place"
        )


def _lengths(config: RunConfig) -> Iterator[str]:
    heard = audio_tokens(config.data.max_audio_s)
    asked = {}
    if config.algo.kind == "grpo":
        asked["rollout.max_new_tokens"] = config.rollout.max_new_tokens
    if config.evaluation:
        asked["evaluation.max_new_tokens"] = config.evaluation.max_new_tokens
    for key, new_tokens in asked.items():
        left = config.engine.max_model_len - heard - new_tokens
        if left < TEXT_TOKENS:
            yield (
                f"engine.max_model_len: {config.engine.max_model_len} leaves {max(0, left)} tokens "
                f"for a question's text beside a clip of {config.data.max_audio_s:g} s ({heard} "
                f"tokens) and {key}: {new_tokens}; raise it, or lower data.max_audio_s to what the "
                "clips last"
            )


def _ranks(config: RunConfig) -> Iterator[str]:
    ranks, groups = config.placement.learner.actors, config.train.groups_per_step
    if groups % ranks:
        yield (
            f"train.groups_per_step: {groups} over {ranks} learner ranks: some get "
            f"{groups // ranks}, some one more, and the former wait; make it a multiple"
        )
    place: RolePlacement = config.placement.rollout
    if config.algo.kind == "grpo" and config.slots < place.actors:
        yield (
            f"placement.rollout.actors: {place.actors}, but only {config.slots} groups are alive "
            f"at once: {place.actors - config.slots} actors never have work; raise "
            "train.groups_per_step or train.max_staleness"
        )


def _room(
    config: RunConfig, shape: ModelShape, memory: RoleMemory, gpu_gib: float
) -> Iterator[str]:
    if not memory.on_gpu:
        return
    is_engine = memory.role in ("rollout", "evaluator")
    if is_engine:
        cache = kv_cache(config, shape, memory.role, Workload.longest(config), gpu_gib)
        if not cache.completions:
            yield (
                f"{memory.role}: a GPU of {gpu_gib:g} GiB has no room for one completion beside "
                "weights and working memory; raise placement."
                f"{memory.role}.gpus, or lower engine.max_num_seqs"
            )
    elif memory.num_bytes > gpu_gib * GIB:
        yield (
            f"{memory.role}: {memory.num_bytes / GIB:.1f} GiB on a GPU of {gpu_gib:g} GiB; "
            + (
                "more learner ranks with zero_stage 3, gradient_checkpointing, "
                "offload_optimizer or fewer micro_batch_tokens take less"
                if memory.role == "learner"
                else "it works on one GPU, so take larger ones, or algo.beta: 0"
            )
        )


def _turns(memory: Sequence[RoleMemory], gpu_gib: float) -> Iterator[str]:
    """Colocated roles are both awake while weights go from one to the other."""
    held = {(role.role, part.name): part.num_bytes / GIB for role in memory for part in role.parts}
    learner = sum(held.get(("learner", name), 0) for name in ("weights", "gradients", "buffers"))
    engine = held["rollout", "weights"]
    if learner + engine > gpu_gib:
        yield (
            f"placement.colocated: while weights are sent, the learner's {learner:.1f} GiB and the "
            f"engine's {engine:.1f} GiB lie on one GPU of {gpu_gib:g} GiB; more pairs of a rollout "
            "actor and a learner rank take less, or GPUs of their own"
        )
