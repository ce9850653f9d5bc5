"""Training questions: JSONL or Parquet files of the training format, checked row by row.

A row has ``id, question, choices, answer, audio`` (a path relative to the file) and may have
``dataset`` and more. The first time a file is opened every row is checked, streaming, and written
to an Arrow table in the cache of `datasets`; from then on rows are read at random, memory-mapped,
so a file may be larger than memory.
"""

import hashlib
import json
from array import array
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from keomni_rl.errors import DataError
from keomni_rl.types import Question

FORMAT = 1
"""Raised when the same file would make another table."""
MAX_LINE_BYTES = 2**20
REQUIRED = ("id", "question", "choices", "answer", "audio")
SUFFIXES = (".jsonl", ".json", ".parquet")


class QuestionFile:
    """The questions of one file, by index.

    Args:
        path: JSONL or Parquet.
        allow_open: whether a question may come without choices, as supervised training takes it.

    Raises:
        DataError: no such file, or a row that is no question.
    """

    def __init__(self, path: Path, *, allow_open: bool = False) -> None:
        if path.suffix not in SUFFIXES:
            raise DataError(f"{path}: wanted a .jsonl or .parquet file of questions")
        if not path.is_file():
            raise DataError(f"{path}: no such file of questions; correct data.train")
        self._folder = path.resolve().parent
        self._where = str(path)
        self._table = _open_table(path.resolve(), allow_open)

    def __len__(self) -> int:
        """Questions in the file."""
        return len(self._table)

    def __getitem__(self, index: int) -> Question:
        """The question number ``index``, from 0."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        row = self._table[index]
        return Question(
            id=row["id"],
            question=row["question"],
            choices=tuple(row["choices"]),
            answer=row["answer"],
            audio=str(resolve_audio(row["audio"], self._folder, f"{self._where}, row {index + 1}")),
            dataset=row["dataset"],
            extra=json.loads(row["extra"]),
        )


def _open_table(path: Path, allow_open: bool) -> Any:
    import datasets

    datasets.disable_progress_bars()
    text = datasets.Value("string")
    features = dict.fromkeys(("id", "question", "answer", "audio", "dataset", "extra"), text)
    stat = path.stat()
    try:
        return datasets.Dataset.from_generator(
            _table_rows,
            features=datasets.Features(features | {"choices": datasets.List(text)}),
            gen_kwargs={
                "path": str(path),
                "allow_open": allow_open,
                "identity": f"{FORMAT} {stat.st_size} {stat.st_mtime_ns}",  # names the cached table
            },
        )
    except datasets.exceptions.DatasetGenerationError as error:
        if isinstance(error.__cause__, DataError):
            raise error.__cause__ from None
        raise


def _table_rows(path: str, allow_open: bool, identity: str) -> Iterator[dict[str, Any]]:  # noqa: ARG001
    file = Path(path)
    ids = array("Q")
    for where, row in _rows(file):
        question = parse_question(row, file.parent, where, allow_open=allow_open)
        ids.append(_digest(question.id))
        yield {
            "id": question.id,
            "question": question.question,
            "choices": list(question.choices),
            "answer": question.answer,
            "audio": row["audio"],
            "dataset": question.dataset,
            "extra": json.dumps(question.extra),
        }
    if not ids:
        raise DataError(f"{file}: holds no questions")
    _refuse_repeated_ids(file, np.frombuffer(ids, np.uint64))


def _refuse_repeated_ids(file: Path, digests: np.ndarray) -> None:
    """Ids name one question; 8 bytes of each are kept, the texts are read again on suspicion."""
    values, counts = np.unique(digests, return_counts=True)
    suspects = set(values[counts > 1].tolist())
    seen: set[str] = set()
    for where, row in _rows(file) if suspects else ():
        if _digest(str(row["id"])) in suspects:
            if str(row["id"]) in seen:
                raise DataError(f"{where}: id {row['id']!r} was used before; ids name one question")
            seen.add(str(row["id"]))


def _digest(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big")


def _rows(path: Path) -> Iterator[tuple[str, Any]]:
    """Rows with where they stand, one at a time."""
    return _parquet_rows(path) if path.suffix == ".parquet" else _json_rows(path)


def _parquet_rows(path: Path) -> Iterator[tuple[str, Any]]:
    import pyarrow
    import pyarrow.parquet

    number = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1024):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{path}, row {number}", row
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise DataError(f"{path}: not a Parquet file that can be read ({error})") from error


def _json_rows(path: Path) -> Iterator[tuple[str, Any]]:
    for number, line in _lines(path):
        where = f"{path}, line {number}"
        try:
            yield where, json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{where}: not a JSON object ({error}); one question a line") from error


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    with path.open("rb") as file:
        file.seek(3 if file.read(3) == b"\xef\xbb\xbf" else 0)
        number = 0
        while line := file.readline(MAX_LINE_BYTES + 1):
            number += 1
            if len(line) > MAX_LINE_BYTES:
                raise DataError(
                    f"{path}, line {number}: over {MAX_LINE_BYTES} bytes; not a question"
                )
            if line.strip():
                yield number, line


def parse_question(row: Any, folder: Path, where: str, *, allow_open: bool = False) -> Question:
    """A row as a `Question`.

    Args:
        row: the decoded row.
        folder: what its audio path is relative to, and may not leave.
        where: file and line, for errors.
        allow_open: accept an empty list of choices; the answer is then free text.

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
    if row["choices"] or not allow_open:
        _check_choices(row["choices"], row["answer"], where)
    return Question(
        id=str(row["id"]),
        question=row["question"],
        choices=tuple(row["choices"]),
        answer=row["answer"],
        audio=str(resolve_audio(row["audio"], folder, where)),
        dataset=str(row.get("dataset", "")),
        extra={k: v for k, v in row.items() if k not in {*REQUIRED, "dataset"}},
    )


def _check_choices(choices: Any, answer: str, where: str) -> None:
    if not isinstance(choices, (list, tuple)) or not all(isinstance(c, str) for c in choices):
        raise DataError(f"{where}: 'choices' is {choices!r:.80}, wanted a list of texts")
    if len(set(choices)) < 2 or len(set(choices)) != len(choices):
        raise DataError(f"{where}: 'choices' is {choices!r:.80}, wanted two or more different ones")
    if answer not in choices:
        raise DataError(f"{where}: the answer {answer!r} is not among the choices {choices!r}")


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
