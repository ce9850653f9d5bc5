import json
from collections import Counter
from itertools import combinations
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keomni_rl.data.prepare.music_labels import TEMPI
from keomni_rl.data.prepare.musicbench import KIND_KEY, convert_compat, convert_musicbench
from keomni_rl.data.prepare.question_writer import QuestionWriter, Written
from keomni_rl.data.prepare.selection import Selection
from keomni_rl.data.questions import QuestionFile
from keomni_rl.errors import DataError

ALL = Selection()
GOOD = {
    "dataset": "MusicBench",
    "location": "data/abc.wav",
    "main_caption": "A song.",
    "prompt_bt": "The time signature is 3/4.",
    "prompt_bpm": "This song is in Adagio.",
    "prompt_key": "The key is A# minor.",
    "beats": [[0.5, 1.0], [1.0, 2.0]],
    "bpm": 70.0,
    "key": ["A#", "minor"],
    "keyprob": [0.85],
    "is_audioset_eval_mcaps": False,
}
TWINS = {"Db": "C#", "Eb": "D#", "F#": "Gb", "Ab": "G#", "Bb": "A#"}
AMBIGUOUS = [{"2/4", "4/4"}, {"6/8", "12/8"}, {"3/4", "6/8"}]


def convert(
    folder: Path, rows: object, *, compat=False, selection=ALL, clips=None, **how
) -> Written:
    """Convert rows; a row of text is a line as it stands. Every clip exists unless `clips` says."""
    if clips is None:
        clips = {
            r["location"]
            for r in rows
            if isinstance(r, dict) and isinstance(r.get("location"), str)
        }
    for clip in clips:
        (folder / "mb" / clip).parent.mkdir(parents=True, exist_ok=True)
        (folder / "mb" / clip).write_bytes(b"RIFF")
    (folder / "mb").mkdir(exist_ok=True)
    raw = folder / "MusicBench_train.json"
    raw.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows))
    with QuestionWriter(
        folder / "q.jsonl", audio=folder / "mb", raw=raw, kind_key=KIND_KEY
    ) as writer:
        (convert_compat if compat else convert_musicbench)(raw, writer, **how)
        return writer.finish(selection)


def questions(folder: Path) -> dict[str, dict]:
    rows = map(json.loads, (folder / "q.jsonl").read_text().splitlines())
    return {row["id"]: row for row in rows}


def skipped(folder: Path) -> list[tuple[int, str, str]]:
    rows = map(json.loads, (folder / "q.skipped.jsonl").read_text().splitlines())
    return [(row["row"], row["id"], row["reason"]) for row in rows]


def test_a_row_of_musicbench_is_asked_three_questions(tmp_path):
    written = convert(tmp_path, [GOOD])
    found = questions(tmp_path)
    assert {name: q["answer"] for name, q in found.items()} == {
        "key_data/abc": "Bb minor",
        "tempo_data/abc": "Adagio",
        "time_data/abc": "3/4",
    }
    assert [q["question"] for q in found.values()] == [
        "Which of the following keys best fits this piece?",
        "Which of the following tempo marks best fits this piece?",
        "Which of the following time signatures best fits this piece?",
    ]
    key = found["key_data/abc"]
    assert (key["audio"], key["dataset"], key["kind"]) == ("mb/data/abc.wav", "MusicBench", "key")
    assert (key["keyprob"], key["is_audioset_eval_mcaps"]) == ([0.85], False)
    assert written.kinds == {"key": 1, "tempo": 1, "time": 1}
    assert len(QuestionFile(tmp_path / "q.jsonl")) == 3


def test_only_the_kinds_asked_for(tmp_path):
    row = {k: v for k, v in GOOD.items() if k not in ("key", "prompt_bpm")}
    assert convert(tmp_path, [row], kinds=["time"]).kinds == {"time": 1}
    with pytest.raises(
        DataError, match="line 1: no 'prompt_bpm'; MusicBench's rows have location, prompt_bpm"
    ):
        convert(tmp_path, [row], kinds=["tempo"])


def test_the_question_of_a_clip_depends_on_no_other_row(tmp_path):
    rows = [
        GOOD | {"location": f"data/{n}.wav", "key": [tonic, "major"]}
        for n, tonic in enumerate("CDEFGAB" * 6)
    ]
    convert(tmp_path, rows, seed=7)
    first = questions(tmp_path)
    convert(tmp_path, Random(1).sample(rows, 30), seed=7)
    some = questions(tmp_path)
    assert len(some) == 90
    assert all(first[name] == question for name, question in some.items())
    convert(tmp_path, rows, seed=8)
    assert sum(questions(tmp_path)[name] != question for name, question in first.items()) > 100


def test_a_clip_is_asked_once_and_its_changed_copies_too(tmp_path):
    rows = [
        GOOD,
        GOOD | {"main_caption": "Another caption."},
        GOOD | {"location": "data_aug2/abc.wav"},
        GOOD | {"location": "data_aug2/abc_1.wav"},
    ]
    written = convert(tmp_path, rows)
    assert written.kinds == {"key": 3, "tempo": 3, "time": 3}
    assert written.reasons == {"duplicate": 3}
    assert len(questions(tmp_path)) == 9


def test_rows_of_one_clip_that_say_different_things(tmp_path):
    rows = [
        GOOD | {"prompt_bpm": "This song goes at 70.0 beats per minute.", "key": ["A", "major"]},
        GOOD | {"prompt_bpm": "Adagietto", "prompt_bt": "The beat is 3."},
        GOOD | {"prompt_bpm": "Adagio", "key": ["A", "major"]},
    ]
    for order in (rows, rows[::-1]):
        convert(tmp_path, order)
        found = questions(tmp_path)
        # The ranges of the two tempo marks overlap, so both may be true: one of them is asked.
        assert {name: q["answer"] for name, q in found.items()} == {
            "tempo_data/abc": "Adagietto",
            "time_data/abc": "3/4",
        }
        assert (1, "key_data/abc", "key: rows disagree") in skipped(tmp_path)


def test_null_and_malformed_rows_are_counted(tmp_path):
    rows = [
        GOOD,
        GOOD | {"location": "data/b.wav", "key": None, "prompt_bpm": None, "prompt_bt": None},
        GOOD | {"location": "data/c.wav", "key": ["C"], "prompt_bpm": 3, "prompt_bt": ["3/4"]},
        GOOD
        | {"location": "data/d.wav", "key": ["H", "major"], "prompt_bpm": "", "prompt_bt": "1/4"},
        {"location": "data/e.wav"},
        GOOD | {"location": None},
        None,
        [],
    ]
    written = convert(tmp_path, rows)
    assert written.num_train == 3
    assert written.reasons == {
        "key: null": 2, "tempo: null": 2, "time: null": 2,
        "key: malformed": 1, "tempo: malformed": 1, "time: malformed": 1,
        "key: unknown": 1, "tempo: not said": 1, "time: uncommon": 1,
        "malformed": 3,
    }  # fmt: skip
    assert (2, "key_data/b", "key: null") in skipped(tmp_path)
    assert len(skipped(tmp_path)) == 15


def test_what_pandas_writes_for_nothing_is_null(tmp_path):
    rows = [GOOD | {"bpm": float("nan"), "key": float("nan")}]
    assert "NaN" in json.dumps(rows)
    written = convert(tmp_path, rows)
    assert (written.num_train, written.reasons) == (2, {"key: null": 1})
    assert [q["bpm"] for q in questions(tmp_path).values()] == [None, None]
    assert "NaN" not in (tmp_path / "q.jsonl").read_text()


def test_keys_recognised_with_little_certainty_can_be_left_out(tmp_path):
    rows = [
        GOOD | {"location": f"data/{n}.wav", "keyprob": prob}
        for n, prob in enumerate([[0.9], [0.8], [0.79], None, [], ["high"], [1]])
    ]
    assert convert(tmp_path, rows, kinds=["key"]).num_train == 7
    written = convert(tmp_path, rows, kinds=["key"], min_keyprob=0.8)
    assert list(questions(tmp_path)) == ["key_data/0", "key_data/1", "key_data/6"]
    assert written.reasons == {"key: no probability": 3, "key: improbable": 1}
    assert convert(tmp_path, rows, kinds=["time"], min_keyprob=0.8).num_train == 7


def test_missing_clips_are_counted_and_other_formats_found(tmp_path):
    rows = [GOOD | {"location": f"data/{n}.wav"} for n in "ab"]
    written = convert(tmp_path, rows, clips=["data/b.flac"])
    assert written.reasons == {"audio missing": 3}
    assert {q["audio"] for q in questions(tmp_path).values()} == {"mb/data/b.flac"}
    (tmp_path / "mb/data/b.flac").unlink()
    with pytest.raises(
        DataError, match=r"no audio found in .*mb; for example looked for data/a.wav, data/a.flac"
    ):
        convert(tmp_path, rows, clips=[])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([GOOD, "{oops"], "line 2: not JSON .*wanted MusicBench's file, one object a line"),
        ([GOOD, "", "\x00\xff"], "line 3: not JSON"),
        ([GOOD, "9" * 5_000], "line 2: not JSON"),
        (
            ["[" + json.dumps(GOOD) + "]"],
            "a JSON array; wanted MusicBench's file, one object a line",
        ),
        (
            [{"id": 1}],
            "line 1: no 'location'; MusicBench's rows have location, key, prompt_bpm, prompt_bt",
        ),
        ([], "holds no rows"),
        (["null", "3"], "holds no rows"),
        ([GOOD, '"' + "x" * 2**24], "line 2: over 16777216 bytes"),
    ],
)
def test_a_file_of_another_kind_is_one_clear_error(tmp_path, rows, message):
    with pytest.raises(DataError, match=message):
        convert(tmp_path, rows)
    assert not (tmp_path / "q.jsonl").exists()


def test_byte_order_mark_and_crlf_are_read(tmp_path):
    convert(
        tmp_path,
        [
            "\ufeff" + json.dumps(GOOD) + "\r",
            json.dumps(GOOD | {"location": "data/abc.wav"}) + "\r",
        ],
        clips=["data/abc.wav"],
    )
    assert len(questions(tmp_path)) == 3


def test_progress_tells_of_the_whole_file(tmp_path):
    counted = []
    convert(tmp_path, [GOOD, None, "", GOOD], advance=counted.append)
    assert sum(counted) == pytest.approx(1)


TONICS = [letter + sign for letter in "ABCDEFG" for sign in ("", "#", "b")] + ["c", "bb", "g#", "H"]
KEYS = st.sampled_from(TONICS)
SIGNATURES = ["3/4", "4/4", "2/4", "6/8", "12/8", "5/4", "7/8", "9/8", "1/4", "3"]
ROWS = st.fixed_dictionaries(
    {
        "location": st.sampled_from([f"data/{n}.wav" for n in range(12)] + [None]),
        "key": st.one_of(
            st.none(),
            st.tuples(KEYS, st.sampled_from(["major", "minor", "Minor", "modal"])).map(list),
            st.just(["C"]),
        ),
        "prompt_bpm": st.one_of(
            st.none(),
            st.sampled_from(["", "150.0 bpm"]),
            st.sampled_from(sorted(TEMPI)).map(lambda term: f"In {term}."),
            st.sampled_from(sorted(TEMPI)).map(lambda term: f"in {term.upper()}"),
        ),
        "prompt_bt": st.one_of(
            st.none(),
            st.sampled_from(SIGNATURES).map("The beat is {}.".format),
        ),
    }
)


@settings(max_examples=60)
@given(st.lists(st.one_of(ROWS, st.none()), min_size=1, max_size=25), st.integers(0, 3))
def test_no_question_has_two_right_answers(rows, seed):
    with TemporaryDirectory() as name:
        folder = Path(name)
        clips = [f"data/{n}.wav" for n in (*range(12), "abc")]
        written = convert(folder, [GOOD, *rows], seed=seed, clips=clips)
        found = questions(folder)
    assert len(found) == written.num_train
    assert len({(q["location"], q["kind"]) for q in found.values()}) == len(found)
    for question in found.values():
        choices = question["choices"]
        assert question["answer"] in choices
        assert len(set(choices)) == 4
        pairs = list(combinations(choices, 2))
        if question["kind"] == "key":
            names = {TWINS.get(key.split()[0], key.split()[0]) for key in choices}
            assert len(names) == 4
        elif question["kind"] == "tempo":
            assert not any(
                max(TEMPI[a][0], TEMPI[b][0]) <= min(TEMPI[a][1], TEMPI[b][1]) for a, b in pairs
            )
        else:
            assert not any({a, b} in AMBIGUOUS for a, b in pairs)


def test_the_originals_words_pools_and_ids(tmp_path):
    rows = [GOOD | {"location": f"data_aug2/{n}.wav", "key": ["F#", "major"]} for n in range(400)]
    convert(tmp_path, rows, compat=True)
    found = questions(tmp_path)
    assert set(found) == {f"{kind}_{n}" for kind in ("key", "tempo", "time") for n in range(400)}
    assert {(q["kind"], q["question"]) for q in found.values()} == {
        ("key", "Which of the following key best fits the rhythm of this piece?"),
        ("tempo", "Which of the following tempo mark best fits the rhythm of this piece?"),
        ("time", "Which of the following time signatures best fits the rhythm of this piece?"),
    }
    offered = {
        kind: Counter(c for q in found.values() if q["kind"] == kind for c in q["choices"])
        for kind in ("key", "tempo", "time")
    }
    notes = ["C", "D", "Db", "E", "Eb", "F", "F#", "G", "Gb", "A", "Ab", "Bb", "B"]
    assert set(offered["key"]) == {f"{note} major" for note in notes}
    assert 70 < offered["key"]["Gb major"] < 130  # 3 of 12 times beside its twin: the fault
    # Adagio (66-76) touches Larghetto, Adagietto and Andante.
    assert set(offered["tempo"]) == {*TEMPI} - {"Larghetto", "Adagietto", "Andante"}
    assert set(offered["time"]) == {"4/4", "3/4", "2/4", "12/8", "5/4", "7/8", "9/8"}
    assert any({"4/4", "2/4"} <= set(q["choices"]) for q in found.values())
    places = Counter(q["choices"].index(q["answer"]) for q in found.values())
    assert all(250 < places[place] < 350 for place in range(4))


def test_the_originals_faults(tmp_path):
    rows = [
        GOOD
        | {
            "location": "data/a.wav",
            "prompt_bpm": "Andante moderato",
            "prompt_bt": "1/4",
            "key": ["Cb", "minor"],
        },
        GOOD
        | {
            "location": "data/b.wav",
            "prompt_bpm": "in ADAGIO, not Presto",
            "prompt_bt": "3/4 or 4/4",
            "key": ["Gb", "minor"],
        },
    ]
    convert(tmp_path, rows, compat=True)
    assert {name: q["answer"] for name, q in questions(tmp_path).items()} == {
        "key_a": "B minor", "tempo_a": "Andante", "time_a": "1/4",
        "key_b": "Gb minor", "tempo_b": "ADAGIO", "time_b": "3/4",
    }  # fmt: skip


def test_where_the_original_crashed_rows_are_counted(tmp_path):
    rows = (
        [GOOD]
        + [
            GOOD | {"key": key, "prompt_bpm": "150.0", "prompt_bt": "The beat is 3."}
            for key in (
                None,
                ["C"],
                ["H", "major"],
                ["C", "Major"],
                ["C", "dorian"],
                [3, "major"],
                "Am",
                ["c", "minor"],
            )
        ]
        + [GOOD | {"prompt_bpm": None, "prompt_bt": None}]
    )
    written = convert(tmp_path, rows, compat=True)
    assert written.reasons == {
        "key: the original crashed": 8,
        "tempo: not said": 8,
        "time: not said": 8,
        "tempo: the original crashed": 1,
        "time: the original crashed": 1,
    }


def test_compat_asks_again_for_each_row_under_an_id_of_its_own(tmp_path):
    convert(tmp_path, [GOOD] * 3, compat=True, kinds=["key"], seed=1)
    found = questions(tmp_path)
    assert list(found) == ["key_abc", "key_abc#2", "key_abc#3"]
    assert len(QuestionFile(tmp_path / "q.jsonl")) == 3
    convert(tmp_path, [GOOD] * 3, compat=True, kinds=["key"], seed=1)
    assert questions(tmp_path) == found


@pytest.mark.parametrize("compat", [False, True])
@pytest.mark.parametrize("location", [".", "/", "./", "a\ud800.wav", "\udfff"])
def test_a_location_that_names_no_file_is_counted(tmp_path, location, compat):
    rows = [GOOD | {"location": location}, GOOD]
    written = convert(tmp_path, rows, compat=compat, clips=["data/abc.wav"])
    assert (written.num_train, written.reasons) == (3, {"malformed": 1})
