"""Questions to evaluate on: MMAU's official array, or a held-out file of the training format."""

from pathlib import Path

from keomni_rl.data.mmau import read_mmau
from keomni_rl.data.questions import SUFFIXES, QuestionFile
from keomni_rl.types import Question

TASK_KEYS = ("task", "question_type", "kind")
"""Where rows of the training format say what kind of question they are; else their dataset does."""


def read_evaluation_set(path: Path) -> list[Question]:
    """Read the questions of an evaluation; `Question.extra` has ``task``, ``difficulty`` and so on.

    Args:
        path: ``.json`` is MMAU's array; ``.jsonl`` and ``.parquet`` are the training format, whose
            rows may lack a difficulty.

    Raises:
        DataError: no such file, or a question that cannot be evaluated.
    """
    if path.suffix not in SUFFIXES or path.suffix == ".json":
        return read_mmau(path)
    rows = QuestionFile(path)
    return [_held_out(rows[index], path) for index in range(len(rows))]


def _held_out(question: Question, path: Path) -> Question:
    keys = [str(question.extra[key]) for key in TASK_KEYS if question.extra.get(key)]
    labels = {
        "task": keys[0] if keys else question.dataset or "all",
        "difficulty": str(question.extra.get("difficulty") or ""),
        "sub-category": str(question.extra.get("sub-category") or ""),
    }
    record = {
        "id": question.id,
        "audio_id": str(Path(question.audio).relative_to(path.resolve().parent)),
        "question": question.question,
        "choices": list(question.choices),
        "answer": question.answer,
        "dataset": question.dataset,
        **labels,
    }
    return Question(
        id=question.id,
        question=question.question,
        choices=question.choices,
        answer=question.answer,
        audio=question.audio,
        dataset=question.dataset,
        extra={**labels, "record": record},
    )
