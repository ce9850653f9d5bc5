"""What engines are told: apart from them, so that the driver can say it without loading one."""

from dataclasses import dataclass
from pathlib import Path

from keomni_rl.config.schema import AlgoConfig, LearnerConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How the answers to one request are drawn."""

    num_completions: int
    max_new_tokens: int
    temperature: float
    """0 is greedy."""
    seed: int | None = None
    """The same seed, prompt and weights give the same completions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSpec:
    """What one vLLM engine needs to know to start."""

    model: Path
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


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnerSpec:
    """What one learner rank needs to know to start."""

    model: Path
    dtype: str
    learner: LearnerConfig
    algo: AlgoConfig
    max_steps: int
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


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceSpec:
    """What the reference needs to know to start."""

    model: Path
    dtype: str
    temperature: float
    on_gpu: bool
    num_threads: int
