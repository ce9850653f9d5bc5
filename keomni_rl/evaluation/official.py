"""The official script's report on a file of predictions, figure by figure and in its layout.

Source: ``evaluation.py`` of MMAU (arXiv 2410.19168) as of 2025-01-29. Its quirk is kept: an entry
without a prediction is skipped, not counted as wrong, so its count of those is always 0. What
would end the script with a traceback is a `DataError` here.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from keomni_rl.data.mmau import DIFFICULTIES, TASKS
from keomni_rl.errors import DataError
from keomni_rl.evaluation.records import Record
from keomni_rl.evaluation.verdict import string_match

LINE = "*" * 30
Tally = dict[str, list[int]]
"""Value -> [right, all]."""


def official_report(records: Iterable[Record], key: str) -> str:
    """What the script prints for these entries.

    Args:
        records: entries of the official array.
        key: of the predicted answer.

    Raises:
        DataError: no entry has a prediction, or one cannot be judged.
    """
    total = [0, 0]
    tasks: Tally = {task: [0, 0] for task in TASKS}
    difficulties: Tally = {difficulty: [0, 0] for difficulty in DIFFICULTIES}
    sub_categories: Tally = {}
    for record in records:
        if key not in record.fields:
            continue
        is_right = _verdict(record, key)
        tallies = [
            total,
            _known(tasks, record, "task"),
            _known(difficulties, record, "difficulty"),
        ]
        if (sub_category := record.fields.get("sub-category")) is not None:
            tallies.append(sub_categories.setdefault(str(sub_category), [0, 0]))
        for tally in tallies:
            tally[0] += is_right
            tally[1] += 1
    if total[1] == 0:
        raise DataError(f"no entry has a {key!r}, so there is no accuracy to report")
    return "\n".join(
        [
            *_section("Task-wise Accuracy:", tasks),
            *_section("Difficulty-wise Accuracy:", difficulties),
            *_section("Sub-category-wise Accuracy:", sub_categories),
            LINE,
            f"Total Accuracy: {_percent(total)}",
            LINE,
            "No prediction count: 0",
        ]
    )


def _verdict(record: Record, key: str) -> bool:
    fields = record.fields
    for name, where in ((key, record.where), ("answer", record.question_where)):
        if not isinstance(fields.get(name), str):
            raise DataError(
                f"{where}: {name!r} is {fields.get(name)!r:.80}; the official script needs a text"
            )
    choices = fields.get("choices")
    if not isinstance(choices, list) or not all(isinstance(c, str) for c in choices):
        raise DataError(
            f"{record.question_where}: 'choices' is {choices!r:.80}, wanted a list of texts"
        )
    return string_match(fields["answer"], fields[key], choices)


def _known(tallies: Tally, record: Record, name: str) -> list[int]:
    value: Any = record.fields.get(name)
    if not isinstance(value, str) or value not in tallies:
        raise DataError(
            f"{record.question_where}: {name} {value!r:.80}; MMAU has {', '.join(tallies)}"
        )
    return tallies[value]


def _section(title: str, tallies: Mapping[str, list[int]]) -> list[str]:
    return [LINE, title, *(f"{value} : {_percent(tally)}" for value, tally in tallies.items())]


def _percent(tally: list[int]) -> str:
    right, n = tally
    return f"{(right / n) * 100 if n else 0:.2f}% over {n} samples"
