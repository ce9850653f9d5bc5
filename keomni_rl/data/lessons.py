"""The demo's lessons: supervised questions that give a tiny model the skill of a weak base model.

Open questions are answered truly, so the model learns to hear. Multiple-choice questions are
answered by the weak teacher, so it learns both formats and half of the names.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from keomni_rl.data.prompts import COMPLETIONS
from keomni_rl.data.teacher import WeakTeacher
from keomni_rl.types import Question

ANSWERS = 4
"""The teacher's answers to each multiple-choice question."""


@dataclass(frozen=True, slots=True)
class LessonFiles:
    """Files of the training format, beside the questions that they were made of."""

    open: Path
    """Questions without choices."""
    think: Path
    """Questions with the teacher's ``completions``, a think and an answer each."""
    no_think: Path
    """The same with answers alone."""


def write_lessons(questions: Sequence[Question], folder: Path, *, seed: int) -> LessonFiles:
    """Write all files into the folder that holds the questions' audio.

    Args:
        questions: of the synthetic set.
        folder: of that set.
        seed: of the teacher.
    """
    files = LessonFiles(*(folder / f"lessons-{f.name}.jsonl" for f in fields(LessonFiles)))
    teacher = WeakTeacher(seed)
    rows = [_row(question, folder) for question in questions]
    _write(files.open, (row | {"choices": []} for row in rows))
    for file, thinks in ((files.think, True), (files.no_think, False)):
        said = ([teacher.answer(q, thinks=thinks) for _ in range(ANSWERS)] for q in questions)
        _write(file, (row | {COMPLETIONS: texts} for row, texts in zip(rows, said, strict=True)))
    return files


def texts_of(files: LessonFiles) -> Iterator[str]:
    """All that is said in the lessons, for a tokenizer to learn from."""
    for file in (files.open, files.think):
        for line in file.read_text().splitlines():
            row = json.loads(line)
            yield from (row["question"], row["answer"], *row["choices"], *row.get(COMPLETIONS, ()))


def _row(question: Question, folder: Path) -> dict[str, Any]:
    return {
        "id": question.id,
        "question": question.question,
        "choices": list(question.choices),
        "answer": question.answer,
        "audio": str(Path(question.audio).relative_to(folder.resolve())),
        "dataset": question.dataset,
    }


def _write(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    with path.open("w") as file:
        for row in rows:
            file.write(json.dumps(row) + "\n")
