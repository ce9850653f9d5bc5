"""Weights & Biases, through its own client; offline with ``WANDB_MODE=offline``.

Its files are in ``wandb/`` of the run folder. The key comes from ``wandb login`` or
``WANDB_API_KEY``, never from the configuration.
"""

import logging
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import wandb

from keomni_rl.config.schema import WandbConfig
from keomni_rl.errors import ConfigError
from keomni_rl.observe.trackers.tracker import keep_id, known_id

log = logging.getLogger(__name__)
NAME = "wandb"
STEP = "step"
"""The axis that everything is drawn over: W&B's own only ever grows, and evaluations come late."""
CORE_LOG = "debug-core.log"
"""A link that leads out of the run folder, which a resumption would refuse."""


def check_key() -> None:
    """See that there is a key, if one is needed.

    Raises:
        ConfigError: there is none.
    """
    if wandb.setup().settings.mode == "online" and not wandb.login(prompt=False):
        raise ConfigError(
            "observe.wandb: no key for W&B; run `wandb login` or set WANDB_API_KEY, or keep the "
            "run on this disk with WANDB_MODE=offline"
        )


class WandbTracker:
    """One run at W&B, or its continuation.

    Args:
        config: where it goes.
        run_dir: the run's folder.
        settings: the run's configuration, to be shown with it.

    Raises:
        ConfigError: W&B does not take the run.
    """

    def __init__(self, config: WandbConfig, run_dir: Path, settings: Mapping[str, Any]) -> None:
        known = known_id(run_dir, NAME)
        try:
            self._run = wandb.init(
                project=config.project,
                entity=config.entity,
                name=config.name or run_dir.name,
                id=known or uuid.uuid4().hex[:16],
                resume="allow",
                dir=str(run_dir),
                config=dict(settings),
                allow_val_change=True,  # a resumption may change settings
                settings=wandb.Settings(console="off", save_code=False, quiet=True),
            )
        except wandb.Error as error:
            raise ConfigError(
                f"observe.wandb: W&B does not take this run ({error}); mend that, set "
                "WANDB_MODE=offline, or set observe.wandb: null"
            ) from error
        for link in (run_dir / "wandb").rglob(CORE_LOG):
            link.unlink()
        self._run.define_metric("*", step_metric=STEP)
        keep_id(run_dir, NAME, self._run.id)

    def show(self, step: int, metrics: Mapping[str, float]) -> None:
        """See `Tracker.show`."""
        try:
            self._run.log({**metrics, STEP: step})
        except wandb.Error as error:
            log.warning("W&B does not take step %d: %s", step, error)

    def close(self, *, is_ok: bool) -> None:
        """See `Tracker.close`."""
        try:
            self._run.finish(exit_code=0 if is_ok else 1)
            wandb.teardown()  # `finish` returns before everything is on disk
        except wandb.Error as error:
            log.warning("W&B does not take the run's end: %s", error)
