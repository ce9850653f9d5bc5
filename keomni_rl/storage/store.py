"""A folder in an object store, through pyarrow: whole files, no append, no rename.

Credentials come from the environment alone (of the driver, and of the learner's nodes), and
``AWS_ENDPOINT_URL`` may.
"""

import hashlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ParamSpec, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import tenacity
from pyarrow.fs import FileSelector, FileSystem, FileType

from keomni_rl.config.run_dir import KEYS
from keomni_rl.errors import ConfigError

P = ParamSpec("P")
T = TypeVar("T")
Stamp = tuple[int, int]
"""Time of the last change in ns, bytes."""
CHUNK_BYTES = 2**24
PATIENCE_S = 60.0
"""For which work that cannot be put off is tried again."""
SETTINGS = {"s3": ("allow_delayed_open", "true"), "gs": ("retry_limit_seconds", "10")}
"""A small file is one request to S3 instead of three; Google's client would try for minutes."""
PROBE = ".probe"
REMEDIES = {
    "NO_SUCH_BUCKET": "there is no such bucket; make it, or correct the URL",
    "ACCESS_DENIED": f"access is denied; set {KEYS} of someone who may read and write there",
    "INVALID_ACCESS_KEY_ID": f"the key is not known there; set {KEYS}",
    "SIGNATURE_DOES_NOT_MATCH": f"the secret does not fit the key; set {KEYS}",
    "OAuth2 access token": "no credentials; set GOOGLE_APPLICATION_CREDENTIALS",
    "NETWORK_CONNECTION": "it cannot be reached; check the network, and AWS_ENDPOINT_URL or the "
    "URL's endpoint_override",
}
"""Of what the clients of AWS and Google name in their messages."""
_again = tenacity.Retrying(
    retry=tenacity.retry_if_exception(
        lambda error: isinstance(error, OSError) and not isinstance(error, FileNotFoundError)
    ),
    stop=tenacity.stop_after_delay(PATIENCE_S),
    wait=tenacity.wait_exponential_jitter(initial=0.5, max=10),
    reraise=True,
)


def patient(call: Callable[P, T]) -> Callable[P, T]:
    """Try again for `PATIENCE_S` what a store refuses; then raise its OSError."""
    return _again.wraps(call)


class Store:
    """One folder; files are named relative to it, with slashes.

    Args:
        url: as `keomni_rl.config.run_dir.located` gives it.

    Raises:
        ConfigError: pyarrow does not take the URL.
        OSError: from every method too: the store is away, or refuses.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        try:
            self._files, self._root = FileSystem.from_uri(_with_setting(url))
        except ValueError as error:
            raise refused(url, error) from error

    def read(self, name: str, *, start: int = 0) -> bytes | None:
        """The content of a small file, from a byte on; None if there is none, or it is shorter."""
        try:
            if not start:
                with self._files.open_input_stream(self._path(name)) as stream:
                    return bytes(stream.read())
            with self._files.open_input_file(self._path(name)) as file:
                if start >= file.size():
                    return None
                file.seek(start)
                return bytes(file.read())
        except FileNotFoundError:
            return None

    def write(self, name: str, content: bytes) -> None:
        """Put a small file in place, whole."""
        with self._files.open_output_stream(self._path(name)) as stream:
            stream.write(content)

    def upload(self, file: Path, name: str) -> str:
        """Put a file of any size in place; returns its SHA-256."""
        digest = hashlib.sha256()
        with file.open("rb") as source, self._files.open_output_stream(self._path(name)) as stream:
            while chunk := source.read(CHUNK_BYTES):
                digest.update(chunk)
                stream.write(chunk)
        return digest.hexdigest()

    def download(self, files: Mapping[str, Path], *, threads: int = 16) -> None:
        """Fetch files, several at a time, each tried again if need be.

        Args:
            files: names and where they go; folders are made.
            threads: files at a time.
        """
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(self._download, files.keys(), files.values()))

    @patient
    def _download(self, name: str, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        with self._files.open_input_stream(self._path(name)) as stream, file.open("wb") as out:
            while chunk := stream.read(CHUNK_BYTES):
                out.write(chunk)

    def sizes(self, folder: str = "") -> dict[str, int]:
        """Names and bytes of all files in a folder and below it.

        Raises:
            ConfigError: a name leads out of the folder.
        """
        return {name: size for name, (_, size) in self.stamps(folder).items()}

    def stamps(self, folder: str = "", *, is_deep: bool = True) -> dict[str, Stamp]:
        """Names of all files in a folder, when they were written, and their bytes.

        Args:
            folder: the folder.
            is_deep: look below it too.

        Raises:
            ConfigError: a name leads out of the folder.
        """
        base = self._path(folder) if folder else self._root
        found = self._files.get_file_info(
            FileSelector(base, allow_not_found=True, recursive=is_deep)
        )
        stamps = {
            i.path.removeprefix(f"{self._root}/"): (i.mtime_ns, i.size)
            for i in found
            if _is_file(i)
        }
        for name in stamps:
            if {"", ".", ".."} & set(name.split("/")) or "\0" in name:
                raise ConfigError(f"{self.url}: holds {name!r:.80}, which leads out of it")
        return stamps

    def delete(self, name: str) -> None:
        """Take a file away; none is as good."""
        try:
            self._files.delete_file(self._path(name))
        except FileNotFoundError:
            return

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"


def _with_setting(url: str) -> str:
    parts = urlsplit(url)
    name, value = SETTINGS[parts.scheme]
    query = dict(parse_qsl(parts.query))
    return urlunsplit(parts._replace(query=urlencode({name: value} | query)))


def open_store(url: str) -> Store:
    """A folder that one may write in and take away from.

    Raises:
        ConfigError: one may not, with what to do.
    """
    try:
        store = Store(url)
        store.write(PROBE, b"")
        store.delete(PROBE)
    except OSError as error:
        raise refused(url, error) from error
    return store


def _is_file(info: object) -> bool:
    return bool(getattr(info, "type", None) == FileType.File)


def refused(url: str, error: Exception) -> ConfigError:
    """What keeps a run from starting at a URL, with what to do."""
    text = told(error)
    known = [remedy for word, remedy in REMEDIES.items() if word in text]
    return ConfigError(f"{url}: {known[0] if known else text}")


def told(error: Exception) -> str:
    """A store's error in one line, as its client words it."""
    return " ".join(str(error).split(" Details: ")[0].split())[:500]
