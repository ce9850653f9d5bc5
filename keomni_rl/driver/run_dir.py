"""A run's folder: one run a folder, one driver at a time."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from keomni_rl.errors import ConfigError


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
    is_taken = os.path.exists(run_dir / "config.yaml")
    if is_taken and not resume:
        raise ConfigError(
            f"run_dir {run_dir} holds a run already; go on with it by "
            f"`keomni-rl {command} --resume {run_dir}` or give another run_dir"
        )
    if resume and not is_taken:
        raise ConfigError(f"{run_dir} holds no run to resume (no config.yaml in it)")
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"run_dir {run_dir}: no folder, and none can be made ({error.strerror}); give another"
        ) from error
    _refuse_links_out(run_dir)


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
    found = {
        folder.name.removeprefix("step_"): folder
        for folder in (run_dir / "evaluation").glob("step_*")
    }
    return dict(sorted((int(n), folder) for n, folder in found.items() if n.isdecimal()))


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
