"""Where a file of questions may say that its sounds lie: inside its own folder, and nowhere else.

Such a file may come from a stranger. What it names is opened, decoded and put into reports, so a
path that leaves the folder, as an absolute path, by ``..`` or through a link, is an error, and so
is a URL: nothing is ever fetched. Who keeps sounds elsewhere puts the file of questions there.
"""

import os
import re
from pathlib import Path

from keomni_rl.errors import DataError

URL = re.compile(r"[a-z][a-z0-9+.-]*://|data:", re.IGNORECASE)
MAX_NAME_BYTES = 255
"""Of a file's name, on every usual file system."""
MAX_PATH_BYTES = 4095
"""Of a whole path, on Linux."""


def resolve_audio(audio: str, folder: Path, where: str) -> Path:
    """The absolute path of an audio file inside ``folder``, which need not exist.

    Args:
        audio: as the file of questions has it.
        folder: of the file of questions.
        where: file and line, for errors.

    Raises:
        DataError: the path leads out of the folder, by itself or through a link, or is none.
    """
    if URL.match(audio):
        raise DataError(
            f"{where}: audio {audio!r:.80} is a URL, and none is ever fetched; download the sound "
            "and give its path"
        )
    root = folder.resolve()
    try:
        path = Path(os.path.realpath(root / audio))
    except ValueError as error:
        raise DataError(f"{where}: audio {audio!r:.80} is no path ({error})") from error
    if not path.is_relative_to(root):
        raise DataError(
            f"{where}: audio {audio!r:.80} lies outside {root}; keep audio beside its file"
        )
    whole = os.fsencode(path)
    if len(whole) > MAX_PATH_BYTES or max(map(len, whole.split(b"/"))) > MAX_NAME_BYTES:
        raise DataError(
            f"{where}: audio {audio!r:.80} is no path (a name of over {MAX_NAME_BYTES} bytes, or "
            f"{MAX_PATH_BYTES} in all); wanted where a sound lies, not what it is"
        )
    return path
