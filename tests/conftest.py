"""Shapes in annotations are checked while tests run; fixtures that several tests share."""

import os

os.environ.setdefault("DS_ACCELERATOR", "cpu")

from jaxtyping import install_import_hook

install_import_hook("keomni_rl.algorithms", "beartype.beartype")
