"""What engines are told: apart from them, so that the driver can say it without loading one."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from keomni_rl.config.placement import RolePlacement
from keomni_rl.config.schema import (
    AlgoConfig,
    EngineConfig,
    LearnerConfig,
    ModelConfig,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How the answers to one request are drawn."""

    num_completions: int
    max_new_tokens: int
    temperature: float
    """0 is greedy."""
    top_p: float = 1.0
    top_k: int = 0
    """0 keeps all tokens."""
    seed: int | None = None
    """The same seed, prompt and weights give the same completions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSpec:
    """What one vLLM engine needs to know to start."""

    model: Path
    """Folder or hub name."""
    revision: str | None = None
    dtype: str
    awaits_weights: bool
    """Start empty: a learner sends the weights before the first prompt."""
    max_model_len: int
    max_num_seqs: int
    tensor_parallel: int
    """GPUs of the engine; 0 is the CPU."""
    gpu_memory_utilization: float
    kv_cache_gib: float
    """KV cache on CPU."""
    num_threads: int
    """Compute threads on CPU."""
    backend: str
    """vLLM weight-transfer backend."""
    in_flight: Literal["keep", "finish"] = "keep"
    """What becomes of completions under way when new weights come."""
    takes_turns: bool = False
    """Whether it sleeps while the learner works on the same GPU."""


def engine_spec(
    model: ModelConfig,
    engine: EngineConfig,
    placement: RolePlacement,
    *,
    backend: str = "cpu",
    awaits_weights: bool,
    in_flight: Literal["keep", "finish"] = "keep",
    takes_turns: bool = False,
) -> EngineSpec:
    """The engine of one actor of a role."""
    return EngineSpec(
        model=model.path,
        revision=model.revision,
        dtype=model.dtype,
        awaits_weights=awaits_weights,
        max_model_len=engine.max_model_len,
        max_num_seqs=engine.max_num_seqs,
        tensor_parallel=placement.gpus,
        gpu_memory_utilization=engine.gpu_memory_utilization,
        kv_cache_gib=engine.kv_cache_gib,
        num_threads=placement.num_threads,
        backend=backend,
        in_flight=in_flight,
        takes_turns=takes_turns,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnerSpec:
    """What one learner rank needs to know to start."""

    model: Path
    """Folder or hub name."""
    revision: str | None = None
    dtype: str
    learner: LearnerConfig
    algo: AlgoConfig
    max_steps: int
    seed: int = 0
    """Of what the learner draws: adapters' first values, dropout."""
    temperature: float
    """Of sampling, whose distribution the learner scores."""
    rank: int = 0
    world_size: int
    master_address: str = "127.0.0.1"
    master_port: int = 0
    on_gpu: bool
    num_threads: int
    checkpoint: Path | None = None
    """Policy and optimizer to go on from."""
    checkpoint_url: str | None = None
    """Where the rank's actor fetches them from first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceSpec:
    """What the reference needs to know to start."""

    model: Path
    """Folder or hub name."""
    revision: str | None = None
    dtype: str
    temperature: float
    on_gpu: bool
    num_threads: int
