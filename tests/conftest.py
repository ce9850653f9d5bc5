"""Shapes in annotations are checked while tests run; no test depends on the machine's speed."""

import os

os.environ.setdefault("DS_ACCELERATOR", "cpu")

from hypothesis import settings
from jaxtyping import install_import_hook

settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")
install_import_hook("keomni_rl.algorithms", "beartype.beartype")

pytest_plugins = ["tests.training", "tests.object_store"]
