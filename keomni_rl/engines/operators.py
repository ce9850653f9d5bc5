"""Where DeepSpeed's operators are compiled, and with what: this environment's own tools."""

import os
import sys
from pathlib import Path


def prepare_operators(*, on_gpu: bool) -> None:
    """Set what DeepSpeed looks at, before it is imported.

    Operators are compiled with this environment's ninja, for this environment's torch.
    """
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    os.environ.setdefault("TORCH_EXTENSIONS_DIR", f"{sys.prefix}/torch_extensions")
    if not on_gpu:
        os.environ["DS_ACCELERATOR"] = "cpu"
