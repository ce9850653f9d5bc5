"""A file of one JSON object a line that another process is writing: only what is new is read."""

from pathlib import Path
from typing import Any

from keomni_rl.errors import DataError
from keomni_rl.observe.sinks import MAX_LINE_BYTES, parse_line


class GrowingLines:
    """The objects of a file so far; `update` reads on.

    A last line without its end is still being written and waits. A file that is written anew, as a
    resumed run's metrics are, no longer has the last line that was read where it was, and is read
    from its beginning. A line that is no object, as a kill in the middle of one leaves, is counted
    and passed over.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._forget()

    def _forget(self) -> None:
        self.objects: list[dict[str, Any]] = []
        self.num_unreadable = 0
        self._end = 0
        self._last = b""

    def update(self) -> bool:
        """Read what has come since the last time; whether the file had been written anew."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._end - len(self._last))
                content = file.read()
                is_other = not content.startswith(self._last)
                if is_other:
                    self._forget()
                    file.seek(0)
                    content = file.read()
        except FileNotFoundError:
            is_other = self._end > 0
            self._forget()
            return is_other
        except OSError as error:
            raise DataError(
                f"{self._path}: cannot be read ({error.strerror or error}); watch as a user who "
                "may read the run's folder"
            ) from error
        *lines, _unfinished = content[len(self._last) :].split(b"\n")
        for line in lines:
            self._take(line + b"\n")
        return is_other

    def _take(self, line: bytes) -> None:
        self._end += len(line)
        self._last = line
        if not line.strip():
            return
        try:
            self.objects.append(parse_line(f"{self._path}", line[:MAX_LINE_BYTES]))
        except DataError:
            self.num_unreadable += 1
