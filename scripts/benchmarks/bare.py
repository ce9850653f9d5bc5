"""What a person would write with vLLM alone: the baseline of what goes through our actors."""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any


class BareVllm:
    """An ``LLM`` in a process of its own, with the engine settings of a configuration.

    Args:
        config: with model and engine.
        more: of vLLM's own settings.
    """

    def __init__(self, config: Any, **more: Any) -> None:
        os.environ |= {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
        os.environ["VLLM_LOGGING_LEVEL"] = "ERROR"
        from vllm import LLM
        from vllm.v1.executor.uniproc_executor import UniProcExecutor

        from keomni_rl.driver.export import export_model
        from keomni_rl.models.family import find_family

        self.config = config
        folder = Path(tempfile.mkdtemp()) / "full"
        export_model(config.model.path, folder, layout="full")
        self.family = find_family(folder)
        self.processor = self.family.load_processor(folder)
        self.llm = LLM(
            model=str(folder),
            dtype=config.model.dtype,
            max_model_len=config.engine.max_model_len,
            max_num_seqs=config.engine.max_num_seqs,
            distributed_executor_backend=UniProcExecutor,
            block_size=32,
            enforce_eager=True,
            enable_chunked_prefill=False,
            max_num_batched_tokens=8192,
            limit_mm_per_prompt={"audio": 1, "image": 0, "video": 0},
            disable_log_stats=True,
            **more,
        )

    def ready(self) -> None:
        """Answer once the engine is up."""

    def requests(self, prompts: Sequence[Any]) -> list[dict[str, Any]]:
        """Decode the clips of some prompts and put them in vLLM's form."""
        import soundfile

        found = []
        for prompt in prompts:
            samples, rate_hz = soundfile.read(prompt.question.audio, dtype="float32")
            found.append(
                {
                    "prompt": self.family.chat_text(self.processor, prompt.text),
                    "multi_modal_data": {"audio": [(samples, rate_hz)]},
                }
            )
        return found
