"""What can be asked about a piece of music: its key, its tempo mark, its time signature.

A kind of label reads the right answer from a row of MusicBench and offers three wrong ones. No two
of the four may both be true of one piece: no two names of one key, no two tempo marks whose ranges
touch, no two signatures that the same music could be written in. All are spelt in one way, so that
spelling does not give the answer away.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from math import inf
from random import Random
from typing import Any

from keomni_rl.data.prepare.raw_rows import MALFORMED, UnusableRowError

KEYS = ("C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
"""The one name of each pitch class, from C upwards in semitones."""
MODES = ("major", "minor")
LETTERS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
TONIC = re.compile(r"([A-Ga-g])(#*|b*)")
TEMPI = {
    "Larghissimo": (0, 25),
    "Grave": (25, 45),
    "Largo": (40, 60),
    "Lento": (45, 60),
    "Larghetto": (60, 66),
    "Adagio": (66, 76),
    "Adagietto": (72, 76),
    "Andante": (76, 108),
    "Andantino": (80, 108),
    "Andante moderato": (92, 112),
    "Moderato": (108, 120),
    "Allegretto": (112, 120),
    "Allegro moderato": (116, 120),
    "Allegro": (120, 168),
    "Vivace": (140, 176),
    "Vivacissimo": (172, 176),
    "Allegrissimo": (172, 176),
    "Presto": (168, 200),
    "Prestissimo": (200, inf),
}
"""Tempo mark -> its range in beats per minute, as Ke-Omni-R has it."""
TEMPO_WORD = re.compile(
    rf"\b({'|'.join(sorted(TEMPI, key=len, reverse=True))})\b".replace(" ", r"\s+"), re.IGNORECASE
)
"""Longest first, so that "Andante moderato" is not read as "Andante"."""
SIGNATURES = ("4/4", "3/4", "2/4", "6/8", "12/8", "5/4", "7/8", "9/8")
AMBIGUOUS = ({"2/4", "4/4"}, {"6/8", "12/8"}, {"3/4", "6/8"})
SIGNATURE = re.compile(r"(?<![\d/])\d+/\d+(?![\d/])")
NUM_WRONG = 3


@dataclass(frozen=True, slots=True)
class LabelKind:
    """One kind of question about music."""

    name: str
    column: str
    """Key of a row that holds the label."""
    question: str
    read: Callable[[Any], str]
    """From what the column holds, not null, to the label in our spelling."""
    pool: Callable[[str], Sequence[str]]
    """Right answer -> the labels it could be offered with, itself among them."""
    clash: Callable[[str, str], bool]
    """Whether two different labels could both be true of one piece."""

    def label(self, row: Mapping[str, Any]) -> str:
        """The right answer for a row.

        Raises:
            UnusableRowError: the row does not say, or says it in no known form.
        """
        value = row.get(self.column)
        if value is None:
            raise UnusableRowError(f"{self.name}: null", f"{self.column!r} is null or missing")
        return self.read(value)

    def choices(self, answer: str, rng: Random) -> list[str]:
        """The answer among three wrong ones, each in any place."""
        wrong = rng.choice(_wrong_triples(self, answer))
        choices = [answer, *wrong]
        rng.shuffle(choices)
        return choices


@cache
def _wrong_triples(kind: LabelKind, answer: str) -> list[tuple[str, ...]]:
    """All sets of wrong answers of which no two clash, with each other or with the answer."""
    others = [label for label in kind.pool(answer) if label != answer]
    apart = [label for label in others if not kind.clash(label, answer)]
    return [
        triple
        for triple in combinations(apart, NUM_WRONG)
        if not any(kind.clash(a, b) for a, b in combinations(triple, 2))
    ]


def _read_key(value: Any) -> str:
    """``["a#", "Minor"]`` -> ``Bb minor``."""
    if not isinstance(value, list) or len(value) != 2 or not all(isinstance(v, str) for v in value):
        raise UnusableRowError(
            f"key: {MALFORMED}", f"'key' is {value!r:.80}, wanted tonic and mode"
        )
    tonic, mode = value[0].strip(), value[1].strip().casefold()
    match = TONIC.fullmatch(tonic)
    if not match or mode not in MODES:
        raise UnusableRowError("key: unknown", f"'key' is {value!r:.80}")
    letter, accidentals = match.groups()
    raised = len(accidentals) if "#" in accidentals else -len(accidentals)
    return f"{KEYS[(LETTERS[letter.upper()] + raised) % len(KEYS)]} {mode}"


def _read_tempo(value: Any) -> str:
    """``This song is in adagio.`` -> ``Adagio``."""
    words = {" ".join(word.split()).capitalize() for word in _found(value, TEMPO_WORD, "tempo")}
    return _only(words, "tempo", value)


def _read_signature(value: Any) -> str:
    """``The time signature is 3/4.`` -> ``3/4``."""
    signature = _only(_found(value, SIGNATURE, "time"), "time", value)
    if signature not in SIGNATURES:
        raise UnusableRowError("time: uncommon", signature)
    return signature


def _found(value: Any, pattern: re.Pattern[str], kind: str) -> set[str]:
    if not isinstance(value, str):
        raise UnusableRowError(f"{kind}: {MALFORMED}", f"{value!r:.80}, wanted text")
    return {match.group() for match in pattern.finditer(value)}


def _only(labels: set[str], kind: str, text: str) -> str:
    if not labels:
        raise UnusableRowError(f"{kind}: not said", f"{text!r:.120}")
    if len(labels) > 1:
        raise UnusableRowError(f"{kind}: several", f"{text!r:.120}")
    return labels.pop()


def _same_mode(key: str) -> list[str]:
    return [f"{tonic} {key.split()[1]}" for tonic in KEYS]


def _ranges_touch(one: str, other: str) -> bool:
    (low, high), (other_low, other_high) = TEMPI[one], TEMPI[other]
    return low <= other_high and other_low <= high


KINDS = {
    kind.name: kind
    for kind in (
        LabelKind(
            "key",
            "key",
            "Which of the following keys best fits this piece?",
            _read_key,
            _same_mode,
            lambda *_: False,
        ),
        LabelKind(
            "tempo",
            "prompt_bpm",
            "Which of the following tempo marks best fits this piece?",
            _read_tempo,
            lambda _: tuple(TEMPI),
            _ranges_touch,
        ),
        LabelKind(
            "time",
            "prompt_bt",
            "Which of the following time signatures best fits this piece?",
            _read_signature,
            lambda _: SIGNATURES,
            lambda one, other: {one, other} in AMBIGUOUS,
        ),
    )
}
"""Name on the command line -> the kind."""
