from itertools import combinations
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keomni_rl.data.prepare.music_labels import KEYS, KINDS, SIGNATURES, TEMPI, _wrong_triples
from keomni_rl.data.prepare.raw_rows import UnusableRowError

# Worked out by hand from the names, not from the code's arithmetic.
PITCHES = [
    {"C", "B#"},
    {"Db", "C#"},
    {"D"},
    {"Eb", "D#"},
    {"E", "Fb"},
    {"F", "E#"},
    {"F#", "Gb"},
    {"G"},
    {"Ab", "G#"},
    {"A"},
    {"Bb", "A#"},
    {"B", "Cb"},
]
NAMES = sorted(name for pitch in PITCHES for name in pitch)
CANNOT_STAND_TOGETHER = [("2/4", "4/4"), ("6/8", "12/8"), ("3/4", "6/8")]


def pitch(key: str) -> tuple[int, str]:
    tonic, mode = key.split()
    return next(n for n, names in enumerate(PITCHES) if tonic in names), mode


def touch(one: str, other: str) -> bool:
    low, high = max(TEMPI[one][0], TEMPI[other][0]), min(TEMPI[one][1], TEMPI[other][1])
    return low <= high


@given(st.sampled_from(NAMES), st.sampled_from(["major", "minor"]), st.integers())
def test_no_two_keys_offered_sound_alike(tonic, mode, seed):
    kind = KINDS["key"]
    answer = kind.label({"key": [tonic, mode]})
    choices = kind.choices(answer, Random(seed))
    assert pitch(answer) == pitch(f"{tonic} {mode}")
    assert answer in choices
    assert len(choices) == 4
    assert len({pitch(key) for key in choices}) == 4
    assert {key.split()[1] for key in choices} == {mode}


@given(st.sampled_from(sorted(TEMPI)), st.randoms(use_true_random=False))
def test_no_two_tempo_marks_offered_touch(term, rng):
    kind = KINDS["tempo"]
    text = "".join(rng.choice([c.lower(), c.upper()]) for c in f"This song is in {term}.")
    answer = kind.label({"prompt_bpm": text})
    choices = kind.choices(answer, rng)
    assert answer == term  # in our letter case, whatever the source's
    assert answer in choices
    assert len(set(choices)) == 4
    assert not any(touch(a, b) for a, b in combinations(choices, 2))


@given(st.sampled_from(["4/4", "3/4", "2/4", "6/8", "12/8", "5/4", "7/8", "9/8"]), st.integers())
def test_no_two_signatures_offered_are_ambiguous(answer, seed):
    kind = KINDS["time"]
    assert kind.label({"prompt_bt": f"The time signature is {answer}."}) == answer
    choices = kind.choices(answer, Random(seed))
    assert answer in choices
    assert len(set(choices)) == 4
    assert not any(a in choices and b in choices for a, b in CANNOT_STAND_TOGETHER)


def test_every_answer_has_several_sets_of_wrong_ones():
    def fewest(kind, answers):
        return min(len(_wrong_triples(KINDS[kind], answer)) for answer in answers)

    assert fewest("key", [f"{tonic} major" for tonic in KEYS]) == 165  # 3 of 11 other tonics
    # 6/8: three of 4/4, 2/4, 5/4, 7/8, 9/8, without the three sets that have both 4/4 and 2/4.
    assert fewest("time", SIGNATURES) == 7
    assert fewest("tempo", TEMPI) > 50


def test_every_place_of_the_answer_is_equally_likely():
    for kind, answer in (
        (KINDS["key"], "F# minor"),
        (KINDS["tempo"], "Presto"),
        (KINDS["time"], "6/8"),
    ):
        places = [kind.choices(answer, Random(n)).index(answer) for n in range(4000)]
        assert all(900 < places.count(place) < 1100 for place in range(4))


def test_two_word_tempo_marks_are_recognised():
    label = KINDS["tempo"].label
    assert label({"prompt_bpm": "The tempo is Andante moderato."}) == "Andante moderato"
    assert label({"prompt_bpm": "allegro  MODERATO"}) == "Allegro moderato"
    assert label({"prompt_bpm": "Moderato, please"}) == "Moderato"
    assert label({"prompt_bpm": "in andante"}) == "Andante"


@pytest.mark.parametrize(
    ("kind", "row", "reason"),
    [
        ("key", {}, "key: null"),
        ("key", {"key": None}, "key: null"),
        ("key", {"key": ["C"]}, "key: malformed"),
        ("key", {"key": "C major"}, "key: malformed"),
        ("key", {"key": ["C", None]}, "key: malformed"),
        ("key", {"key": ["H", "major"]}, "key: unknown"),
        ("key", {"key": ["C", "dorian"]}, "key: unknown"),
        ("tempo", {"prompt_bpm": None}, "tempo: null"),
        ("tempo", {"prompt_bpm": 120.0}, "tempo: malformed"),
        ("tempo", {"prompt_bpm": "This song goes at 150.0 beats per minute."}, "tempo: not said"),
        ("tempo", {"prompt_bpm": "Prestoso"}, "tempo: not said"),
        ("tempo", {"prompt_bpm": "From Adagio to Presto."}, "tempo: several"),
        ("time", {"prompt_bt": "The beat is 3."}, "time: not said"),
        ("time", {"prompt_bt": "1/4"}, "time: uncommon"),
        ("time", {"prompt_bt": "on 12/12/2020"}, "time: not said"),
        ("time", {"prompt_bt": "3/4, then 4/4"}, "time: several"),
    ],
)
def test_what_a_row_does_not_say_has_a_reason(kind, row, reason):
    with pytest.raises(UnusableRowError) as error:
        KINDS[kind].label(row)
    assert error.value.reason == reason


def test_keys_are_spelt_in_one_way():
    label = KINDS["key"].label
    assert label({"key": ["Gb", "major"]}) == label({"key": ["F#", "Major"]}) == "F# major"
    assert label({"key": ["a#", " MINOR "]}) == "Bb minor"
    assert label({"key": ["B#", "minor"]}) == "C minor"
    assert label({"key": ["Cb", "major"]}) == "B major"
