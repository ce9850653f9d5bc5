"""What a run has to know of the job that it is: brought by ``ray job submit``, ended by a stop."""

import json
import os
from pathlib import Path

from ray._private.runtime_env.constants import RAY_JOB_CONFIG_JSON_ENV_VAR
from rich.console import Console

from keomni_rl.errors import ConfigError

STOP_WAIT = "RAY_JOB_STOP_WAIT_TIME_S"
"""Seconds that a job has between SIGTERM and SIGKILL; Ray gives 3 unless the job's runtime
environment says more."""


def refuse_passing_folder(run_dir: Path | str) -> None:
    """See that a job's results stay when it ends.

    Raises:
        ConfigError: they would lie in the copy of the submitter's folder that Ray removes.
    """
    if isinstance(run_dir, str):
        return
    if _runtime_env().get("working_dir") and run_dir.is_relative_to(Path.cwd()):
        raise ConfigError(
            f"run_dir {run_dir}: in the job's working directory, a copy that Ray removes after the "
            "job; give an absolute path that all nodes see"
        )


def tell_short_stop(console: Console) -> None:
    """Say so if the job could be killed before its last checkpoint is written."""
    if RAY_JOB_CONFIG_JSON_ENV_VAR in os.environ and STOP_WAIT not in os.environ:
        console.print(
            "`ray job stop` kills this job after 3 s, which is too short for a checkpoint: put "
            f"{STOP_WAIT} into the env_vars of its runtime environment, as "
            "cluster/runtime_env.yaml does",
            style="yellow",
            markup=False,
            soft_wrap=True,
        )


def _runtime_env() -> dict[str, object]:
    job = json.loads(os.environ.get(RAY_JOB_CONFIG_JSON_ENV_VAR, "{}"))
    env: dict[str, object] = job.get("runtime_env") or {}
    return env
