"""Training questions: JSONL or Parquet files of the training format, checked row by row.

A row has ``id, question, choices, answer, audio`` (a path relative to the file, see
`keomni_rl.data.audio_paths`) and may have ``dataset`` and more. The first time a file is opened
every row is checked, streaming, and written to an Arrow table in the cache of `datasets`; from then
on rows are read at random, memory-mapped, so a file may be larger than memory.
"""

import hashlib
import json
from array import array
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keomni_rl.data.audio_paths import resolve_audio
from keomni_rl.data.question_rows import KNOWN, REQUIRED, read_rows, refuse_many_choices
from keomni_rl.errors import DataError
from keomni_rl.types import Question

FORMAT = 2
"""Raised when the same file would make another table."""
PIECE = 10_000
"""Rows that are read at once where all are."""
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
        if path.is_dir():
            raise DataError(f"{path}: a folder; name the file of questions in it")
        if not path.is_file():
            raise DataError(f"{path}: no such file of questions; correct the path")
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

    def datasets_of(self, indices: Sequence[int]) -> list[str]:
        """The data set that each of some questions names; "" is none."""
        return list(self._table.select_columns("dataset")[list(indices)]["dataset"])

    def wordings(self) -> Iterator[Question]:
        """Every question in order, its sound left out: for looking at all of them."""
        table = self._table.remove_columns("audio").with_format("arrow")
        for piece in table.iter(PIECE):
            for row in piece.to_pylist():
                more = {"choices": tuple(row["choices"]), "extra": json.loads(row["extra"])}
                yield Question(**row | more, audio="")


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
        match error.__cause__:
            case DataError() as cause:
                raise cause from None
            case OSError() as cause:
                raise DataError(
                    f"{path}: its table cannot be written to {datasets.config.HF_DATASETS_CACHE} "
                    f"({cause}); make room, or set HF_DATASETS_CACHE to another folder"
                ) from error
        raise


def _table_rows(path: str, allow_open: bool, identity: str) -> Iterator[dict[str, Any]]:  # noqa: ARG001
    file = Path(path)
    ids = array("Q")
    for where, row in read_rows(file):
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
    seen: dict[str, str] = {}
    for where, row in read_rows(file) if suspects else ():
        name = str(row["id"])
        if _digest(name) not in suspects:
            continue
        if name in seen:
            raise DataError(
                f"{where}: the id {name!r:.80} was used before ({seen[name]}); give each question "
                "its own"
            )
        seen[name] = where


def _digest(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big")


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
        if not _is_text(row[key]):
            raise DataError(f"{where}: {key!r} is {row[key]!r:.80}, wanted text")
    if not (allow_open and row["choices"] in ([], ())):
        _check_choices(row["choices"], row["answer"], where)
    name, dataset = row["id"], row.get("dataset")
    if not _is_text(name) and (not isinstance(name, int) or isinstance(name, bool)):
        raise DataError(f"{where}: 'id' is {name!r:.80}, wanted text or a whole number")
    if dataset is not None and not isinstance(dataset, str):
        raise DataError(f"{where}: 'dataset' is {dataset!r:.80}, wanted text or nothing")
    _refuse_half_characters(row, where)
    return Question(
        id=str(name),
        question=row["question"],
        choices=tuple(row["choices"]),
        answer=row["answer"],
        audio=str(resolve_audio(row["audio"], folder, where)),
        dataset=dataset or "",
        extra={k: v for k, v in row.items() if k not in KNOWN},
    )


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _check_choices(choices: Any, answer: str, where: str) -> None:
    if not isinstance(choices, (list, tuple)) or not all(map(_is_text, choices)):
        raise DataError(f"{where}: 'choices' is {choices!r:.80}, wanted a list of texts")
    if len(set(choices)) < 2 or len(set(choices)) != len(choices):
        raise DataError(f"{where}: 'choices' is {choices!r:.80}, wanted two or more different ones")
    refuse_many_choices(choices, where)
    if answer not in choices:
        raise DataError(
            f"{where}: the answer {answer!r:.80} is not among the choices {choices!r:.200}; wanted "
            "one of them to the letter"
        )


def _refuse_half_characters(row: Mapping[str, Any], where: str) -> None:
    """JSON may spell one half of a surrogate pair, which fails wherever it is written."""
    for key, value in row.items():
        try:
            json.dumps({key: value}, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise DataError(
                f"{where}: {key!r} holds {error.object[error.start]!r}, half of a character, which "
                "no file can hold; write the whole character or remove it"
            ) from error
