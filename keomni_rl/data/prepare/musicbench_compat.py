"""Ke-Omni-R's own questions about MusicBench: its words, pools and rules, faults included.

So F# may be offered beside Gb, "Andante moderato" is read as "Andante", the right tempo mark keeps
the letter case of its source, and 2/4 stands beside 4/4. Only what cannot be is changed: choices
are seeded, and where the original would have crashed a row is skipped.
Source: Ke-Omni-R, commit 915f448, src/utils/prepare_musicbench_{key,tempo,time}.py.
"""

import re
from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from keomni_rl.data.prepare.music_labels import SIGNATURES, TEMPI
from keomni_rl.data.prepare.raw_rows import UnusableRowError

NOTES = ("C", "D", "Db", "E", "Eb", "F", "F#", "G", "Gb", "A", "Ab", "Bb", "B")
ALIASES = {
    "B#": "C",
    "C#": "Db",
    "D#": "Eb",
    "Fb": "E",
    "E#": "F",
    "G#": "Ab",
    "A#": "Bb",
    "Cb": "B",
}
TEMPO = re.compile(rf"\b({'|'.join(TEMPI)})\b", re.IGNORECASE)
SIGNATURE = re.compile(r"\d+/\d+")
CRASHED = "the original crashed"
QUESTIONS = {
    "key": "Which of the following key best fits the rhythm of this piece?",
    "tempo": "Which of the following tempo mark best fits the rhythm of this piece?",
    "time": "Which of the following time signatures best fits the rhythm of this piece?",
}


def compat_choices(kind: str, row: Mapping[str, Any], rng: Random) -> tuple[list[str], str]:
    """The choices, and which of them is right, as the original drew them.

    Args:
        kind: one of `QUESTIONS`.
        row: of MusicBench.
        rng: draws.

    Raises:
        UnusableRowError: the original skipped such a row, or crashed on it.
    """
    answer, pool = POOLS[kind](row)
    choices = [answer, *rng.sample(pool, 3)]
    rng.shuffle(choices)
    return choices, answer


def _key(row: Mapping[str, Any]) -> tuple[str, list[str]]:
    match row.get("key"):
        case [str() as tonic, ("major" | "minor") as mode] if ALIASES.get(tonic, tonic) in NOTES:
            answer = f"{ALIASES.get(tonic, tonic)} {mode}"
            pool = [f"{note} {mode}" for note in NOTES]
            pool.remove(answer)
            return answer, pool
        case other:
            raise UnusableRowError(f"key: {CRASHED}", f"'key' is {other!r:.80}")


def _tempo(row: Mapping[str, Any]) -> tuple[str, list[str]]:
    answer = _first(row, "prompt_bpm", TEMPO, "tempo")
    low, high = TEMPI[answer.capitalize()]
    pool = [term for term, (lowest, highest) in TEMPI.items() if lowest > high or highest < low]
    return answer, pool


def _time(row: Mapping[str, Any]) -> tuple[str, list[str]]:
    answer = _first(row, "prompt_bt", SIGNATURE, "time")
    excluded = {"3/4", "6/8"} if answer in ("3/4", "6/8") else {answer}
    return answer, [signature for signature in SIGNATURES if signature not in excluded]


def _first(row: Mapping[str, Any], column: str, pattern: re.Pattern[str], kind: str) -> str:
    text = row.get(column)
    if not isinstance(text, str):
        raise UnusableRowError(f"{kind}: {CRASHED}", f"{column!r} is {text!r:.80}")
    if not (match := pattern.search(text)):
        raise UnusableRowError(f"{kind}: not said", f"{text!r:.120}")
    return match.group()


POOLS: dict[str, Callable[[Mapping[str, Any]], tuple[str, list[str]]]] = {
    "key": _key,
    "tempo": _tempo,
    "time": _time,
}
