"""A vLLM engine in this very process, without a cluster: for commands that serve one person."""

from pathlib import Path
from typing import IO, TYPE_CHECKING

from keomni_rl.driver.start_failure import find_cause, one_line, stderr_to
from keomni_rl.engines.specs import EngineSpec
from keomni_rl.errors import USER_ERRORS, ConfigError
from keomni_rl.models.layout import stored_dtype

if TYPE_CHECKING:
    from keomni_rl.engines.rollout import RolloutEngine

GPU_SHARE = 0.85
"""Of a GPU's memory, for all engines on it."""


def lone_engine_spec(
    model: Path,
    *,
    max_model_len: int,
    max_num_seqs: int,
    gpus: int,
    num_threads: int,
    num_engines: int = 1,
) -> EngineSpec:
    """The engine of a model folder, in the type of its weights.

    Args:
        model: the folder.
        max_model_len: tokens of prompt and answer together.
        max_num_seqs: answers at once.
        gpus: of the engine; 0 runs on CPU.
        num_threads: compute threads on CPU.
        num_engines: that share the GPU.
    """
    return EngineSpec(
        model=model,
        dtype=stored_dtype(model),
        awaits_weights=False,
        max_model_len=max_model_len,
        max_num_seqs=max_num_seqs,
        tensor_parallel=gpus,
        gpu_memory_utilization=GPU_SHARE / num_engines,
        kv_cache_gib=1,
        num_threads=num_threads,
        backend="nccl" if gpus else "cpu",
    )


def start_lone_engine(spec: EngineSpec, printed: IO[bytes]) -> "RolloutEngine":
    """Start vLLM, whose complaints go to a file: they are pages, and say what is wrong in a line.

    Raises:
        ConfigError: it does not start.
    """
    from keomni_rl.engines.rollout import RolloutEngine

    try:
        with stderr_to(printed):
            return RolloutEngine(spec)
    except USER_ERRORS:
        raise
    except (RuntimeError, ValueError) as error:  # its process ended, or its settings do not fit
        said = read_printed(printed)
        is_elsewhere = "root cause above" in str(error)
        cause = (find_cause(said) if is_elsewhere else None) or one_line(error)
        refused = ConfigError(
            f"vLLM does not start for {spec.max_model_len} tokens of prompt and answer: {cause} "
            "(a lower --max-new-tokens takes less; --debug shows all that was printed)"
        )
        refused.add_note(said)
        raise refused from error


def read_printed(printed: IO[bytes]) -> str:
    """All that has been printed to the file."""
    printed.seek(0)
    return printed.read().decode(errors="replace")
