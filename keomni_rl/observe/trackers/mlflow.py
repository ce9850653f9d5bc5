"""MLflow, through its own client, in a thread: a server that is away keeps no step waiting.

User and password come from ``MLFLOW_TRACKING_USERNAME`` and ``MLFLOW_TRACKING_PASSWORD``, or a
token from ``MLFLOW_TRACKING_TOKEN``, never from the configuration.
"""

import logging
import os
import re
import time
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric, Param
from mlflow.exceptions import MlflowException

from keomni_rl.config.schema import MlflowConfig
from keomni_rl.errors import ConfigError
from keomni_rl.observe.trackers.tracker import keep_id, known_id

log = logging.getLogger(__name__)
NAME = "mlflow"
URI = "MLFLOW_TRACKING_URI"
MAX_PARAMS = 100
"""That MLflow takes at once."""
MAX_LETTERS = 6000
"""Of a parameter's value."""
CLOSE_S = 60.0
"""For which what is left is handed over at the end."""
REFUSED = re.compile(r"[^\w./ :-]|\.\.|//")
"""What MLflow takes in no name; a reward of the user's own may be named by a path."""


class MlflowTracker:
    """One run at MLflow, or its continuation.

    Args:
        config: where it goes.
        run_dir: the run's folder.
        settings: the run's configuration, to be shown with it.

    Raises:
        ConfigError: MLflow does not take the run.
    """

    def __init__(self, config: MlflowConfig, run_dir: Path, settings: Mapping[str, Any]) -> None:
        # MLflow wants to be asked twice for files instead of a database.
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        uri = config.tracking_uri or os.environ.get(URI) or (run_dir / "mlflow").absolute().as_uri()
        known = known_id(run_dir, NAME)
        try:
            self._client = MlflowClient(tracking_uri=uri)
            if known:
                self._client.update_run(known, status="RUNNING")
            self._id = known or self._begin(config, run_dir, settings)
        except MlflowException as error:
            raise ConfigError(
                f"observe.mlflow: {uri} does not take this run ({error}); mend that, or set "
                "observe.mlflow: null"
            ) from error
        keep_id(run_dir, NAME, self._id)
        self._pool = ThreadPoolExecutor(1, NAME)
        self._under_way: deque[Future[Any]] = deque()
        self._num_lost = 0

    def _begin(self, config: MlflowConfig, run_dir: Path, settings: Mapping[str, Any]) -> str:
        experiment = self._client.get_experiment_by_name(config.experiment)
        number = (
            experiment.experiment_id
            if experiment
            else self._client.create_experiment(config.experiment)
        )
        run = self._client.create_run(number, run_name=config.name or run_dir.name)
        params = [Param(_named(key), str(value)[:MAX_LETTERS]) for key, value in _flat(settings)]
        for first in range(0, len(params), MAX_PARAMS):
            self._client.log_batch(run.info.run_id, params=params[first : first + MAX_PARAMS])
        return str(run.info.run_id)

    def show(self, step: int, metrics: Mapping[str, float]) -> None:
        """See `Tracker.show`."""
        now_ms = time.time_ns() // 1_000_000
        shown = [Metric(_named(name), value, now_ms, step) for name, value in metrics.items()]
        self._under_way.append(self._pool.submit(self._client.log_batch, self._id, metrics=shown))
        while self._under_way and self._under_way[0].done():
            self._note(self._under_way.popleft())

    def _note(self, done: Future[Any]) -> None:
        if not done.cancelled() and (error := done.exception()):
            self._num_lost += 1
            if self._num_lost == 1:
                log.warning("MLflow does not take a step's metrics: %s", error)

    def close(self, *, is_ok: bool) -> None:
        """See `Tracker.close`."""
        status = "FINISHED" if is_ok else "FAILED"
        self._under_way.append(
            self._pool.submit(self._client.set_terminated, self._id, status=status)
        )
        wait(self._under_way, timeout=CLOSE_S)
        self._pool.shutdown(wait=False, cancel_futures=True)
        late = [work for work in self._under_way if not work.done() or work.cancelled()]
        for work in self._under_way:
            if work.done():
                self._note(work)
        if lost := self._num_lost + len(late):
            log.warning("MLflow lacks %d batches of metrics; metrics.jsonl has them all", lost)


def _named(name: str) -> str:
    return REFUSED.sub("_", name)


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
