"""The files of cluster/, read as the programs that they are for read them."""

from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[3]
CLUSTER = ROOT / "cluster"
IN_IMAGE = Path("/opt/keomni_rl")
"""Where the images have the checkout."""
LAUNCHER = ("aws.yaml", "machines.yaml")
KUBERAY = {"rayjob.yaml": "rayjobs", "raycluster.yaml": "rayclusters"}


def read(name: str) -> dict[str, Any]:
    return yaml.safe_load((CLUSTER / name).read_text())


def ray_cluster(name: str) -> dict[str, Any]:
    """The specification of the cluster in a manifest."""
    spec = read(f"kuberay/{name}")["spec"]
    return spec.get("rayClusterSpec", spec)
