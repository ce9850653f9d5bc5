"""Where a run's folder is: a path, or the URL of a folder in an object store.

The driver works on a folder of its own disk either way. That of a URL is found from the URL alone
and mirrored to the store (`keomni_rl.storage.mirror`).
"""

import hashlib
import os
from pathlib import Path
from typing import Annotated, overload
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit

from pydantic import PlainValidator

from keomni_rl.errors import ConfigError

OPTIONS = {
    "s3": {"endpoint_override", "region", "scheme"},
    "gs": {"endpoint_override", "project_id", "retry_limit_seconds", "scheme"},
}
"""Object stores, and what pyarrow takes in the query of their URLs; none of it is a secret."""
KEYS = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or GOOGLE_APPLICATION_CREDENTIALS"
CACHE = Path.home() / ".cache" / "keomni_rl"


def located(given: object) -> Path | str:
    """A path as a `Path`, the URL of an object store as text; ``file://`` URLs are paths.

    Raises:
        ConfigError: no such scheme, no bucket or no folder in it, an unknown option, or a secret.
    """
    if isinstance(given, Path):
        return given
    if not isinstance(given, str) or not given:
        raise ConfigError(f"wanted the path of a folder or a URL, got {given!r:.80}")
    if "://" not in given:
        return Path(given)
    try:
        parts = urlsplit(given)
    except ValueError as error:
        raise ConfigError(  # not with the URL, which may hold a password
            "what has :// in it is no URL that can be read; wanted s3://BUCKET/FOLDER, "
            "gs://BUCKET/FOLDER, file:///FOLDER or a path"
        ) from error
    if "@" in unquote(parts.netloc + parts.query):
        raise ConfigError(
            "a URL with a user or a password in it, which files and logs would show; take it out "
            f"and set {KEYS} in the environment"
        )
    if parts.scheme == "file" and parts.netloc in ("", "localhost") and parts.path:
        return Path(unquote(parts.path))
    if parts.scheme not in OPTIONS:
        raise ConfigError(
            f"{given!r:.200} is no URL that a run's folder can be at; wanted s3://BUCKET/FOLDER, "
            "gs://BUCKET/FOLDER, file:///FOLDER or a path"
        )
    folders = parts.path.strip("/").split("/")
    if not parts.netloc or not all(folders) or {".", ".."} & set(folders) or parts.fragment:
        raise ConfigError(f"{given!r:.200}: wanted {parts.scheme}://BUCKET/FOLDER")
    known = OPTIONS[parts.scheme]
    if unknown := [k for k, _ in parse_qsl(parts.query, keep_blank_values=True) if k not in known]:
        raise ConfigError(
            f"{given!r:.200}: unknown option {unknown[0]!r:.80}; known are "
            f"{', '.join(sorted(known))}"
        )
    return urlunsplit(parts._replace(path="/" + "/".join(folders)))


RunDir = Annotated[Path | str, PlainValidator(located)]
"""A path, or a URL as text."""


@overload
def inside(place: Path, name: str) -> Path: ...
@overload
def inside(place: str, name: str) -> str: ...
def inside(place: Path | str, name: str) -> Path | str:
    """Where something in a folder is."""
    if isinstance(place, Path):
        return place / name
    parts = urlsplit(place)
    return urlunsplit(parts._replace(path=f"{parts.path}/{name}"))


def last_name(place: Path | str) -> str:
    """What a folder or file is called."""
    if isinstance(place, Path):
        return place.name
    return urlsplit(place).path.rpartition("/")[2]


def parent(url: str) -> str:
    """The URL of the folder that something lies in."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=parts.path.rpartition("/")[0]))


def working_folder(run_dir: Path | str) -> Path:
    """The folder that a run reads and writes, on this machine's disk."""
    if isinstance(run_dir, Path):
        return run_dir
    return work_dir() / digest(run_dir) / last_name(run_dir)


def digest(url: str) -> str:
    """A name for a URL that a file system takes."""
    return hashlib.sha256(url.encode()).hexdigest()[:16]


def work_dir() -> Path:
    """Where this machine keeps working folders and fetched checkpoints of runs at URLs."""
    cache = Path(os.environ.get("KEOMNI_RL_CACHE", CACHE))
    return Path(os.environ.get("KEOMNI_RL_WORK_DIR", cache / "runs"))
