"""A run's folder, on a disk or at a URL: one run a folder, one driver at a time."""

import fcntl
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from keomni_rl.config.run_dir import working_folder
from keomni_rl.driver.checkpoints import Checkpoints, LocalCheckpoints
from keomni_rl.driver.stored_checkpoints import StoredCheckpoints
from keomni_rl.errors import ConfigError
from keomni_rl.observe.sinks import write_event
from keomni_rl.storage.lease import Lease
from keomni_rl.storage.manifest import step_of
from keomni_rl.storage.mirror import CHECKPOINTS, Mirror
from keomni_rl.storage.reading import is_taken
from keomni_rl.storage.store import open_store

log = logging.getLogger(__name__)


@contextmanager
def held(run_dir: Path | str, *, command: str, resume: bool) -> Iterator[Checkpoints]:
    """Hold a run's folder while the run lasts; gives where its checkpoints go.

    A URL is mirrored: its working folder is as the store is on entry, and on exit the store is as
    that is.

    Args:
        run_dir: the folder or its URL.
        command: of ``keomni-rl`` that is running, for the advice.
        resume: whether a run there is to go on.

    Raises:
        ConfigError: see `prepare_run_dir` and `locked`; or the store refuses.
        StoreError: on exit: what was written last could not be stored.
    """
    if isinstance(run_dir, Path):
        prepare_run_dir(run_dir, command=command, resume=resume)
        with locked(run_dir):
            yield LocalCheckpoints(run_dir / CHECKPOINTS)
        return
    store = open_store(run_dir)
    _refuse_other_use(run_dir, command=command, resume=resume)
    folder = working_folder(run_dir)
    with (
        Lease(store) as lease,
        Mirror(folder, store, lease, partial(_tell_outage, folder)) as mirror,
    ):
        checkpoints = StoredCheckpoints(store, mirror)
        try:
            yield checkpoints
        finally:
            checkpoints.forget()


def _tell_outage(folder: Path, event: str, cause: str) -> None:
    log.warning("%s: %s", event, cause)
    write_event(folder, event, cause=cause)


def prepare_run_dir(run_dir: Path, *, command: str, resume: bool) -> None:
    """Make the run folder, or refuse one that another run has filled.

    Args:
        run_dir: the folder.
        command: of ``keomni-rl`` that is running, for the advice.
        resume: whether a run there is to go on.

    Raises:
        ConfigError: the folder is taken and this is no resumption, or the other way round; it
            cannot be made; or a link in it leads out of it, so that the run would write elsewhere.
    """
    _refuse_other_use(run_dir, command=command, resume=resume)
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"run_dir {run_dir}: no folder, and none can be made ({error.strerror}); give another"
        ) from error
    _refuse_links_out(run_dir)


def _refuse_other_use(run_dir: Path | str, *, command: str, resume: bool) -> None:
    taken = is_taken(run_dir)
    if taken and not resume:
        raise ConfigError(
            f"run_dir {run_dir} holds a run already; go on with it by "
            f"`keomni-rl {command} --resume {run_dir}` or give another run_dir"
        )
    if resume and not taken:
        raise ConfigError(f"{run_dir} holds no run to resume (no config.yaml in it)")


def _refuse_links_out(run_dir: Path) -> None:
    root = run_dir.resolve()
    for folder, folders, files in os.walk(root):
        for path in (Path(folder, name) for name in (*folders, *files)):
            if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(root):
                raise ConfigError(
                    f"{path}: a link that leads out of the run folder, in which alone a run "
                    "writes; put there what it leads to, or give a run_dir where there is room"
                )


def drop_evaluations(run_dir: Path, *, after: int) -> None:
    """Remove evaluations of policies after a step, which a resumed run will make anew."""
    for step, folder in evaluation_folders(run_dir).items():
        if step > after:
            shutil.rmtree(folder)


def evaluation_folders(run_dir: Path) -> dict[int, Path]:
    """Folders of evaluations during training, by the steps behind the policy; oldest first."""
    found = {step_of(path.name): path for path in (run_dir / "evaluation").glob("step_*")}
    return dict(sorted((step, path) for step, path in found.items() if step is not None))


@contextmanager
def locked(run_dir: Path) -> Iterator[None]:
    """Hold the run folder against a second driver; the kernel lets go when this process ends.

    Raises:
        ConfigError: another driver holds it.
    """
    with (run_dir / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(
                f"{run_dir}: another driver is running in this folder; stop it first"
            ) from error
        yield
