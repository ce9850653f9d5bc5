"""Finds and opens the trackers that a run asks for; which there are is told here alone."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from keomni_rl.config.schema import ObserveConfig, RunConfig
from keomni_rl.errors import ConfigError
from keomni_rl.observe.trackers.tracker import Tracker

INSTALLED = {"wandb": "wandb", "mlflow": "mlflow"}
"""Section of ``observe`` -> the module that it needs, which an extra of the same name installs."""


def check_trackers(config: ObserveConfig) -> None:
    """See that all trackers that are asked for can be had; none is started.

    Raises:
        ConfigError: one is not installed, or W&B has no key.
    """
    for name, module in INSTALLED.items():
        if getattr(config, name) is None:
            continue
        found = find_spec(module)
        if found is None or found.origin is None:  # a folder of that name is no module
            raise ConfigError(
                f"observe.{name}: asked for, but {module} is not installed; "
                f"`pip install 'keomni-rl[{name}]'`, or set observe.{name}: null"
            )
    if config.wandb:
        from keomni_rl.observe.trackers.wandb import check_key

        check_key()


@contextmanager
def tracked(config: RunConfig) -> Iterator[list[Tracker]]:
    """The trackers of a run, which hear at the end how it went.

    Raises:
        ConfigError: see `check_trackers`; or one does not take the run.
    """
    check_trackers(config.observe)
    trackers: list[Tracker] = []
    is_ok = False
    try:
        _open(config, trackers)
        yield trackers
        is_ok = True
    finally:
        for tracker in trackers:
            tracker.close(is_ok=is_ok)


def _open(config: RunConfig, trackers: list[Tracker]) -> None:
    settings = config.model_dump(mode="json")
    if config.observe.wandb:
        from keomni_rl.observe.trackers.wandb import WandbTracker

        trackers.append(WandbTracker(config.observe.wandb, config.folder, settings))
    if config.observe.mlflow:
        from keomni_rl.observe.trackers.mlflow import MlflowTracker

        trackers.append(MlflowTracker(config.observe.mlflow, config.folder, settings))
