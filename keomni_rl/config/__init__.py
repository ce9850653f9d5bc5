"""The run's configuration: pydantic sections, YAML files merged in order, dotted overrides."""

from keomni_rl.config.load import load_config, load_resumed, load_run, read_mapping, to_yaml
from keomni_rl.config.schema import EvaluateConfig, RunConfig

__all__ = [
    "EvaluateConfig",
    "RunConfig",
    "load_config",
    "load_resumed",
    "load_run",
    "read_mapping",
    "to_yaml",
]
