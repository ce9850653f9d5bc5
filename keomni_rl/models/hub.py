"""A model's folder on this machine: given as such, or fetched from the hub by its name.

Only configuration, tokenizer and safetensors are fetched: no pickles, and no code, which could
not run anyway since nothing here trusts remote code. What is in the local cache is not fetched
again, and without a network the cache is enough.
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from keomni_rl.errors import CheckpointError

HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
FETCHED = ("*.json", "*.txt", "*.jinja", "*.safetensors")
"""What is asked of the hub."""


def local_model(
    path: Path,
    revision: str | None = None,
    *,
    companions: Sequence[str] = (),
    offline: bool = False,
) -> Path:
    """The folder of a model, fetched first if it is only on the hub.

    Args:
        path: an existing folder, which is returned as it is, or a hub name (``owner/name``).
        revision: commit, tag or branch on the hub; None is its newest.
        companions: further files wanted, by name.
        offline: take what the cache holds, and do not ask the hub for anything newer.

    Raises:
        CheckpointError: no such folder and no hub name; the hub cannot be reached and the cache
            lacks the model; no such model or revision; access is restricted; no safetensors.
    """
    name = _hub_name(path, revision)
    if name is None:
        return path
    folder = _fetch(name, revision, [*FETCHED, *companions], offline=offline)
    if not any(folder.glob("*.safetensors")):
        raise CheckpointError(
            f"{name}: has no *.safetensors; pickled weights are not read, choose a revision that "
            "has safetensors"
        )
    return folder


def described_model(path: Path, revision: str | None = None) -> Path:
    """A folder with a model's config.json, and maybe no more; raises as `local_model`."""
    name = _hub_name(path, revision)
    return path if name is None else _fetch(name, revision, ["config.json"], offline=False)


def is_here(path: Path, revision: str | None = None) -> bool:
    """Whether `local_model` would find a model, or refuse it, without fetching anything."""
    from huggingface_hub import errors, snapshot_download

    if os.path.exists(path) or not is_hub_name(path.as_posix()):
        return True
    try:
        folder = snapshot_download(
            path.as_posix(), revision=revision, allow_patterns=list(FETCHED), local_files_only=True
        )
    except errors.LocalEntryNotFoundError:
        return False
    return any(Path(folder).glob("*.safetensors"))


def _hub_name(path: Path, revision: str | None) -> str | None:
    """The hub name that ``path`` is, or None for a folder.

    Raises:
        CheckpointError: it is neither, or a folder with a revision.
    """
    if os.path.isdir(path):
        if revision is not None:
            raise CheckpointError(
                f"{path}: a folder has no revision {revision!r}; leave model.revision out"
            )
        return None
    name = path.as_posix()
    if os.path.exists(path) or not is_hub_name(name):
        raise CheckpointError(
            f"{name:.200}: no such model folder, and not a hub name either (owner/name); correct "
            "model.path"
        )
    return name


def is_hub_name(name: str) -> bool:
    """Whether this can be the name of a repository of the hub, owner/name."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils._validators import validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return HUB_NAME.fullmatch(name) is not None


def _fetch(name: str, revision: str | None, wanted: Sequence[str], *, offline: bool) -> Path:
    from httpx2 import HTTPError
    from huggingface_hub import errors, snapshot_download

    where = name if revision is None else f"{name} at revision {revision!r}"
    try:
        return Path(
            snapshot_download(
                name, revision=revision, allow_patterns=list(wanted), local_files_only=offline
            )
        )
    except errors.GatedRepoError as error:
        raise CheckpointError(
            f"{name}: access is restricted; accept its terms on the hub and log in with "
            "`hf auth login`, or set HF_TOKEN"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise CheckpointError(
            f"{name}: no such model folder here and no such model on the hub (or a private one); "
            "correct model.path, or set HF_TOKEN"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise CheckpointError(
            f"{where}: no such revision on the hub; correct model.revision"
        ) from error
    except errors.LocalEntryNotFoundError as error:
        raise CheckpointError(
            f"{where}: no such model folder here, not in the local cache, and the hub cannot be "
            "reached; download it where there is a network and give the folder"
        ) from error
    except (HTTPError, OSError) as error:
        raise CheckpointError(f"{where}: the download failed ({error}); try again") from error
