"""Which of the questions that were read are written, and where: dropped, held out, sampled.

Every choice goes by a rank that a seed gives to an id or a clip. So it does not depend on the order
of the rows, a smaller sample is part of a larger one, and questions keep their order.
"""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from keomni_rl.errors import DataError


class Fate(StrEnum):
    """What becomes of a question."""

    TRAIN = "train"
    HELDOUT = "held out"
    OVERLAP = "clip is in the evaluation set"
    CLIP_HELDOUT = "clip is held out"
    UNSAMPLED = "not in the sample"


class Staged(NamedTuple):
    """What is kept in mind of a question whose row lies on disk."""

    number: int
    """Of the raw row that it came from."""
    id: str
    audio: str
    """Relative to the questions' folder."""
    kind: str
    place: int
    """Of the right answer among the choices, from 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What the user asked for."""

    seed: int = 0
    sample: int | None = None
    """Training questions to keep; None keeps all."""
    heldout: int = 0
    """Questions for a file of their own, on clips that training does not hear."""
    drop: frozenset[Path] = frozenset()
    """Absolute paths of clips that are not to be used."""


def choose(
    questions: Sequence[Staged], selection: Selection, dropped: Collection[str] = ()
) -> list[Fate]:
    """The fate of each question: first dropped, then held out, then sampled.

    Questions are held out clip by clip, so that no clip is on both sides; when the last clip has
    more questions than are still wanted, the rest of them is written nowhere.

    Args:
        questions: all that were read.
        selection: numbers and seed.
        dropped: the audio that is not to be used.

    Raises:
        DataError: more questions are wanted than there are.
    """
    fates = [Fate.OVERLAP if q.audio in dropped else Fate.TRAIN for q in questions]
    if selection.heldout:
        _hold_out(questions, selection, fates)
    if selection.sample is not None:
        _sample(questions, selection.sample, selection.seed, fates)
    return fates


def _hold_out(questions: Sequence[Staged], selection: Selection, fates: list[Fate]) -> None:
    left = [i for i, fate in enumerate(fates) if fate is Fate.TRAIN]
    left.sort(
        key=lambda i: (
            _rank(selection.seed, "clip", questions[i].audio),
            _rank(selection.seed, "question", questions[i].id),
        )
    )
    held, rest = left[: selection.heldout], left[selection.heldout :]
    clips = {questions[i].audio for i in held}
    for i in held:
        fates[i] = Fate.HELDOUT
    for i in rest:
        if questions[i].audio in clips:
            fates[i] = Fate.CLIP_HELDOUT
    if Fate.TRAIN not in fates:
        raise DataError(
            f"--heldout {selection.heldout}: {len(left)} questions on "
            f"{len({questions[i].audio for i in left})} clips leave none to train on; lower it"
        )


def _sample(questions: Sequence[Staged], size: int, seed: int, fates: list[Fate]) -> None:
    left = [i for i, fate in enumerate(fates) if fate is Fate.TRAIN]
    if size > len(left):
        raise DataError(
            f"--sample {size}: only {len(left)} questions are there to choose from; lower it or "
            "leave it out"
        )
    left.sort(key=lambda i: _rank(seed, "sample", questions[i].id))
    for i in left[size:]:
        fates[i] = Fate.UNSAMPLED


def _rank(seed: int, purpose: str, name: str) -> bytes:
    return hashlib.blake2b(f"{seed}/{purpose}/{name}".encode(), digest_size=16).digest()
