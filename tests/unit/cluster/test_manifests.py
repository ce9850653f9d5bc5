"""Launcher files against Ray's own schema, KubeRay manifests against its resource definitions."""

import json
import os
from copy import deepcopy
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.unit.cluster.files import CLUSTER, KUBERAY, LAUNCHER, read

CRDS = "KEOMNI_RL_KUBERAY_CRDS"
"""Names a folder with KubeRay's ray.io_rayjobs.yaml and ray.io_rayclusters.yaml."""
needs_crds = pytest.mark.skipif(
    CRDS not in os.environ, reason=f"{CRDS} names no folder with KubeRay's resource definitions"
)


@pytest.mark.parametrize("path", sorted(CLUSTER.rglob("*.yaml")), ids=lambda p: p.name)
def test_a_file_is_yaml(path):
    assert isinstance(yaml.safe_load(path.read_text()), dict)


@pytest.fixture(scope="module")
def launcher_schema() -> dict[str, Any]:
    [ray] = find_spec("ray").submodule_search_locations
    return json.loads((Path(ray) / "autoscaler" / "ray-schema.json").read_text())


@pytest.mark.parametrize("name", LAUNCHER)
def test_a_launcher_file_is_what_ray_takes(name, launcher_schema):
    jsonschema.validate(read(name), launcher_schema)
    with pytest.raises(jsonschema.ValidationError, match="workers"):
        jsonschema.validate(read(name) | {"workers": 2}, launcher_schema)


@pytest.mark.parametrize("name", LAUNCHER)
def test_ray_fills_out_and_accepts_a_launcher_file(name):
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = prepare_config(read(name))
    validate_config(config)
    workers = [n for kind, n in config["available_node_types"].items() if "head" not in kind]
    assert sum(node["min_workers"] for node in workers) == config["max_workers"] == 2


def strict(schema: Any) -> Any:
    """An OpenAPI schema as JSON Schema that refuses unknown fields, as the API server does."""
    if not isinstance(schema, dict):
        return schema
    made = {
        key: strict(value)
        for key, value in schema.items()
        if not key.startswith("x-kubernetes") and key not in ("properties", "description", "format")
    }
    if schema.get("x-kubernetes-int-or-string"):
        made["type"] = ["integer", "string"]
    if schema.get("type") == "object" and "properties" in schema:
        made["properties"] = {name: strict(field) for name, field in schema["properties"].items()}
    is_open = schema.get("x-kubernetes-preserve-unknown-fields", False)
    if schema.get("type") == "object" and "additionalProperties" not in schema:
        made["additionalProperties"] = is_open
    if schema.get("nullable"):
        made["type"] = [made["type"], "null"]
    return made


def definition(plural: str) -> dict[str, Any]:
    file = Path(os.environ[CRDS]) / f"ray.io_{plural}.yaml"
    [version] = [v for v in yaml.safe_load(file.read_text())["spec"]["versions"] if v["storage"]]
    assert version["name"] == "v1"
    schema = strict(version["schema"]["openAPIV3Schema"])
    schema["properties"]["metadata"] = {"type": "object"}  # the API server's own, in no definition
    return schema


@needs_crds
@pytest.mark.parametrize("name", KUBERAY)
def test_a_manifest_is_what_kuberay_takes(name):
    manifest = read(f"kuberay/{name}")
    assert manifest["apiVersion"] == "ray.io/v1"
    jsonschema.validate(manifest, definition(KUBERAY[name]))


@needs_crds
@pytest.mark.parametrize("name", KUBERAY)
def test_a_mistake_in_a_manifest_is_found(name):
    schema = definition(KUBERAY[name])
    for change in (
        lambda m: m["spec"].update(rayVersionn="2.60.0"),
        lambda m: cluster_of(m)["headGroupSpec"].update(replicas=1),
        lambda m: cluster_of(m)["headGroupSpec"]["template"]["spec"].update(container=[]),
        lambda m: cluster_of(m)["workerGroupSpecs"][0].update(maxReplicas="2"),
        lambda m: cluster_of(m)["workerGroupSpecs"][0].pop("groupName"),
        lambda m: cluster_of(m)["authOptions"].update(mode="Token"),
    ):
        manifest = deepcopy(read(f"kuberay/{name}"))
        change(manifest)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(manifest, schema)


def cluster_of(manifest: dict[str, Any]) -> dict[str, Any]:
    return manifest["spec"].get("rayClusterSpec", manifest["spec"])
