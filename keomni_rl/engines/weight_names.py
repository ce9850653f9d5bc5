"""Asks an engine which weights it expects, so that one that would not fit is named in time.

`WeightNames` is part of `keomni_rl.engines.worker_extension` and runs in the engine's own process,
where the truth is: the parameters of the model that was built.
"""

import re
from collections.abc import Sequence
from typing import Any


class WeightNames:
    """Worker method that compares sent names with the model's parameters."""

    model_runner: Any

    def compare_weight_names(self, sent: Sequence[str]) -> tuple[list[str], list[str]]:
        """Names the engine lacks after ``sent``, and names of ``sent`` it has no place for.

        vLLM fuses some projections (q, k and v in one): a fused parameter is expected under the
        names of its parts. Both lists are in the engine's own naming.
        """
        model = self.model_runner.model
        packed: dict[str, list[str]] = {}
        for module in model.modules():
            packed |= getattr(module, "packed_modules_mapping", {})
        expected = {
            part
            for name, _ in model.named_parameters()
            for part in _unpacked(name, packed)
            if not _is_computed(name)
        }
        mapper = getattr(model, "hf_to_vllm_mapper", None)
        mapped = set(mapper.apply_list(list(sent)) if mapper else sent)
        return sorted(expected - mapped), sorted(mapped - expected)


def _unpacked(name: str, packed: dict[str, list[str]]) -> list[str]:
    for whole, parts in packed.items():
        if re.search(rf"\.{re.escape(whole)}\.", name) and len(parts) > 1:
            return [name.replace(f".{whole}.", f".{part}.") for part in parts]
    return [name]


def _is_computed(name: str) -> bool:
    # Sinusoidal tables are parameters in vLLM and buffers without weights in the checkpoint.
    return name.endswith("positional_embedding")
