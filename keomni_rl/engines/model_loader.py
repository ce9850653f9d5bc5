"""A vLLM load format that reads weights where they lie, whatever their checkpoint layout.

vLLM knows a family's full layout only, and reads all of it. Here the served folder has the
configuration that vLLM knows and a link to the model's own folder, whose tensors are renamed on
their way: a thinker-only checkpoint is served without a copy, a talker is never read.
"""

import time
from collections.abc import Generator
from pathlib import Path

import torch
from torch import nn
from vllm.config import ModelConfig
from vllm.model_executor import model_loader
from vllm.model_executor.model_loader.default_loader import DefaultModelLoader

from keomni_rl.models.family import LayoutName, find_family
from keomni_rl.models.layout import read_tensors, write_shell

LOAD_FORMAT = "keomni_rl"
LINK = "weights"
"""In a served folder: leads to the folder that has the tensors."""
SERVED_LAYOUT: LayoutName = "full"


def register_load_format() -> None:
    """Make the format known to vLLM; once in a process is enough."""
    if LOAD_FORMAT not in model_loader._LOAD_FORMAT_TO_MODEL_LOADER:
        model_loader.register_model_loader(LOAD_FORMAT)(LinkedLoader)


def write_served_folder(out: Path, model: Path) -> Path:
    """Make the folder that vLLM is given for a model folder of any layout."""
    write_shell(out, model, SERVED_LAYOUT)
    (out / LINK).symlink_to(model.resolve(), target_is_directory=True)
    return out


class LinkedLoader(DefaultModelLoader):
    """vLLM's own loader with another source of tensors."""

    def download_model(self, model_config: ModelConfig) -> None:
        """Nothing to fetch."""

    def get_all_weights(
        self,
        model_config: ModelConfig,
        model: nn.Module,  # noqa: ARG002 - vLLM's signature
    ) -> Generator[tuple[str, torch.Tensor], None, None]:
        """The linked model's tensors under the names that vLLM loads."""
        self.counter_before_loading_weights = time.perf_counter()
        folder = Path(model_config.model) / LINK
        family = find_family(folder)
        for name, tensor in read_tensors(folder):
            yield family.wire_name(name), tensor
