"""A model folder put into a repository of the hub, under the login of huggingface_hub."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from keomni_rl.errors import ConfigError
from keomni_rl.models.hub import is_hub_name

LOGIN = "log in with `hf auth login`, or set HF_TOKEN to a token that may write"


def check_login(repo: str) -> None:
    """See, before there is anything to push, that somebody is logged in.

    Raises:
        ConfigError: ``repo`` is no name of a repository, there is no token, the hub does not know
            it, or the hub cannot be reached.
    """
    from huggingface_hub import whoami

    if not is_hub_name(repo):
        raise ConfigError(f"--push {repo!r:.200}: no name of a repository; give OWNER/NAME")
    with _refusal_told(repo):
        whoami()


def publish(folder: Path, repo: str, *, private: bool) -> str:
    """Upload all files of a model folder in one commit; the repository is made if need be.

    Args:
        folder: what is uploaded.
        repo: owner/name.
        private: whether a repository that is made can be seen by its owner alone.

    Returns:
        The commit's URL.

    Raises:
        ConfigError: as `check_login`, or the repository may not be made or written to.
    """
    from huggingface_hub import create_repo, upload_folder

    with _refusal_told(
        repo, f"; {folder} stays as it is: `hf upload {repo} {folder}` pushes it too"
    ):
        name = create_repo(repo, private=private, exist_ok=True).repo_id
        done = upload_folder(
            repo_id=name, folder_path=folder, commit_message="Add model by keomni-rl export"
        )
    return done.commit_url


@contextmanager
def _refusal_told(repo: str, otherwise: str = "") -> Iterator[None]:
    """What the hub's client raises becomes a user's error, which may tell another way.

    Raises:
        ConfigError: it raised.
    """
    from httpx2 import HTTPError
    from huggingface_hub import errors

    try:
        yield
    except errors.LocalTokenNotFoundError as error:
        raise ConfigError(f"--push {repo}: no token of the hub here; {LOGIN}") from error
    except errors.HfHubHTTPError as error:
        why = _why(error.response.status_code) or f"the hub refuses ({error})"
        raise ConfigError(f"--push {repo}: {why}{otherwise}") from error
    except ValueError as error:  # of the card, or of one of the files
        raise ConfigError(f"--push {repo}: the hub refuses ({error}){otherwise}") from error
    except (HTTPError, OSError) as error:
        raise ConfigError(
            f"--push {repo}: the hub cannot be reached ({error}); try again where there is a "
            f"network{otherwise}"
        ) from error


def _why(status: int) -> str | None:
    if status == 401:
        return f"the hub does not know the token; {LOGIN}"
    if status in (403, 404):
        return (
            f"the token may not write there (HTTP {status}); correct the owner's name, or use a "
            "token with the right to write"
        )
    return None
