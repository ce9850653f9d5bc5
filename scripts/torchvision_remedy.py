"""Lets torchvision's Python part load beside a CPU build of torch.

The torchvision wheel on PyPI is built for CUDA: beside a CPU torch its compiled operators do not
load, and the import fails because two of them are decorated before they exist. Nothing here calls
them, but vLLM and transformers import torchvision in every process. `scripts/setup.sh` installs
this file into site-packages with a ``.pth`` line that imports it; the hook acts once, when
torchvision is first imported, and only without CUDA.
"""

import sys
from importlib.abc import MetaPathFinder

SCHEMAS = {
    "torchvision::nms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "torchvision::qnms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}


class DeclareOperators(MetaPathFinder):
    """Finds nothing; declares the operators' schemas when torchvision is looked for."""

    def find_spec(self, fullname, path=None, target=None):  # noqa: ARG002, D102
        if fullname == "torchvision":
            sys.meta_path.remove(self)
            import torch

            if torch.version.cuda is None:
                for name, schema in SCHEMAS.items():
                    torch.library.define(name, schema)


sys.meta_path.insert(0, DeclareOperators())
