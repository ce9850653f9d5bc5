"""Training questions: JSONL or Parquet files of the training format, checked row by row.

A row has ``id, question, choices, answer, audio`` (a path relative to the file) and may have
``dataset`` and more. Every row is checked once, streaming; rows are then read at random through
`datasets`, memory-mapped, so a file may be larger than memory.
"""

import json
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from keomni_rl.errors import DataError
from keomni_rl.types import Question

MAX_LINE_BYTES = 2**20
REQUIRED = ("id", "question", "choices", "answer", "audio")
FORMATS = {".jsonl": "json", ".json": "json", ".parquet": "parquet"}


class QuestionSet:
    """The questions of several files, one file after the other, by index."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = [_QuestionFile(Path(file)) for file in files]
        self._starts = [0]
        for file in self._files:
            self._starts.append(self._starts[-1] + len(file))

    def __len__(self) -> int:
        """Questions in all files."""
        return self._starts[-1]

    def __getitem__(self, index: int) -> Question:
        """The question number ``index``, from 0."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        number = bisect_right(self._starts, index) - 1
        return self._files[number][index - self._starts[number]]


class _QuestionFile:
    def __init__(self, path: Path) -> None:
        if path.suffix not in FORMATS:
            raise DataError(f"{path}: wanted a .jsonl or .parquet file of questions")
        if not path.is_file():
            raise DataError(f"{path}: no such file of questions; correct data.train")
        self._path = path
        # Only text files can be malformed within a row; Parquet rows are checked as they are read.
        self._offsets = _check_lines(path) if FORMATS[path.suffix] == "json" else None
        self._table: Any = None if self._offsets is not None else _load_parquet(path)

    def __len__(self) -> int:
        return len(self._table) if self._offsets is None else len(self._offsets)

    def __getitem__(self, index: int) -> Question:
        where = f"{self._path}, row {index + 1}"
        if self._offsets is None:
            return parse_question(self._table[index], self._path.parent, where)
        with self._path.open("rb") as file:
            file.seek(self._offsets[index])
            return parse_question(json.loads(file.readline()), self._path.parent, where)


def _load_parquet(path: Path) -> Any:
    import datasets
    import pyarrow

    try:
        table = datasets.Dataset.from_parquet(str(path))
    except (pyarrow.ArrowInvalid, datasets.exceptions.DatasetGenerationError) as error:
        raise DataError(f"{path}: not a Parquet file that can be read ({error})") from error
    if len(table) == 0:
        raise DataError(f"{path}: holds no questions")
    return table


def _check_lines(path: Path) -> Any:
    """Check every line of a JSONL file and return where each begins."""
    import numpy as np

    offsets: list[int] = []
    ids: set[str] = set()
    for number, offset, line in _lines(path):
        where = f"{path}, line {number}"
        try:
            row = json.loads(line)
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise DataError(f"{where}: not a JSON object ({error}); one question a line") from error
        question = parse_question(row, path.parent, where)
        if question.id in ids:
            raise DataError(f"{where}: id {question.id!r} was used before; ids name one question")
        ids.add(question.id)
        offsets.append(offset)
    if not offsets:
        raise DataError(f"{path}: holds no questions")
    return np.asarray(offsets, np.int64)


def _lines(path: Path) -> Iterator[tuple[int, int, bytes]]:
    with path.open("rb") as file:
        offset = 3 if file.read(3) == b"\xef\xbb\xbf" else 0
        file.seek(offset)
        number = 0
        while line := file.readline(MAX_LINE_BYTES + 1):
            number += 1
            if len(line) > MAX_LINE_BYTES:
                raise DataError(
                    f"{path}, line {number}: over {MAX_LINE_BYTES} bytes; not a question"
                )
            if line.strip():
                yield number, offset, line
            offset += len(line)


def parse_question(row: Any, folder: Path, where: str) -> Question:
    """A row as a `Question`.

    Args:
        row: the decoded row.
        folder: what its audio path is relative to, and may not leave.
        where: file and line, for errors.

    Raises:
        DataError: a key is missing or malformed.
    """
    if not isinstance(row, Mapping):
        raise DataError(f"{where}: wanted an object with {', '.join(REQUIRED)}, got {row!r:.80}")
    if missing := [key for key in REQUIRED if row.get(key) is None]:
        raise DataError(f"{where}: no {missing[0]!r}; a question needs {', '.join(REQUIRED)}")
    for key in ("question", "answer", "audio"):
        if not isinstance(row[key], str) or not row[key].strip():
            raise DataError(f"{where}: {key!r} is {row[key]!r:.80}, wanted text")
    choices = row["choices"]
    if not isinstance(choices, (list, tuple)) or not all(isinstance(c, str) for c in choices):
        raise DataError(f"{where}: 'choices' is {choices!r:.80}, wanted a list of texts")
    if len(set(choices)) < 2 or len(set(choices)) != len(choices):
        raise DataError(f"{where}: 'choices' is {choices!r:.80}, wanted two or more different ones")
    if row["answer"] not in choices:
        raise DataError(
            f"{where}: the answer {row['answer']!r} is not among the choices {choices!r}"
        )
    return Question(
        id=str(row["id"]),
        question=row["question"],
        choices=tuple(choices),
        answer=row["answer"],
        audio=str(resolve_audio(row["audio"], folder, where)),
        dataset=str(row.get("dataset", "")),
        extra={k: v for k, v in row.items() if k not in {*REQUIRED, "dataset"}},
    )


def resolve_audio(audio: str, folder: Path, where: str) -> Path:
    """The absolute path of an audio file inside ``folder``.

    Raises:
        DataError: the path leads out of the folder, by itself or through a link.
    """
    root = folder.resolve()
    try:
        path = (root / audio).resolve()
    except ValueError as error:
        raise DataError(f"{where}: audio {audio!r} is no path ({error})") from error
    if not path.is_relative_to(root):
        raise DataError(f"{where}: audio {audio!r} lies outside {root}; keep audio beside its file")
    return path
