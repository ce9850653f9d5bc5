"""torchvision, which vLLM needs, and two that break transformers where they do not load."""

import importlib
import importlib.metadata
import importlib.util
from collections.abc import Iterator

from keomni_rl.doctor.finding import Finding, failure, ok

AREA = "engines"
UNNEEDED = ("torchaudio", "torchcodec")
"""transformers imports them where they are installed; nothing here needs them."""
REMEDY = "keomni_rl_torchvision_remedy"
"""What scripts/setup.sh puts into site-packages where torchvision's operators do not load."""
BROKEN = (ImportError, OSError, RuntimeError)
"""What a compiled extension that does not fit raises."""


def probe() -> Iterator[Finding]:
    """Import each; a fresh process, since a failed import leaves torch in between."""
    yield torchvision()
    for name in UNNEEDED:
        if any(importlib.metadata.distributions(name=name)):
            yield _unneeded(name)


def torchvision() -> Finding:
    """Its Python part is enough."""
    name = "torchvision"
    try:
        found = importlib.import_module(name)
    except BROKEN as error:
        hint = " and lets it load beside a torch without CUDA" if "nms" in str(error) else ""
        return failure(
            AREA,
            name,
            f"does not load: {error!s:.200}",
            f"run `bash scripts/setup.sh` in the checkout; it installs it{hint}",
        )
    if found.extension._has_ops():
        return ok(AREA, name, "loads, with its operators")
    is_mended = importlib.util.find_spec(REMEDY) is not None
    by = "; scripts/torchvision_remedy.py declares them" if is_mended else ""
    return ok(AREA, name, f"loads, without its operators, which nothing here calls{by}")


def _unneeded(name: str) -> Finding:
    try:
        importlib.import_module(name)
    except BROKEN as error:
        return failure(
            AREA,
            name,
            f"does not load, so transformers does not either: {str(error).strip():.160}",
            f"`pip uninstall {name}`; nothing here needs it",
        )
    return ok(AREA, name, "loads")
