"""Training files, and the raw downloads they are made of, that are damaged or lead elsewhere."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from keomni_rl.data.prepare.audiomcq import convert_audiomcq
from keomni_rl.data.prepare.avqa import convert_avqa
from keomni_rl.data.prepare.musicbench import convert_musicbench
from keomni_rl.data.prepare.question_writer import QuestionWriter
from keomni_rl.data.question_rows import read_rows
from keomni_rl.data.questions import QuestionFile, parse_question
from keomni_rl.errors import DataError
from keomni_rl.types import Question
from tests.odd_values import damaged, json_values, sparse, taken_or_refused, texts

pytestmark = pytest.mark.usefixtures("tables_elsewhere")
GOOD = {"id": "a", "question": "What?", "choices": ["x", "y"], "answer": "x", "audio": "a.wav"}
GOOD_LINE = json.dumps(GOOD).encode() + b"\n"
MIB = 2**20


def write(path: Path, *rows: object) -> Path:
    path.write_text("\n".join(r if isinstance(r, str) else json.dumps(r) for r in rows) + "\n")
    return path


def rows(count: int) -> list[dict]:
    return [GOOD | {"id": f"q{n}"} for n in range(count)]


@pytest.mark.parametrize("key", list(GOOD))
@pytest.mark.parametrize("is_null", [False, True])
def test_a_missing_key_is_named_with_its_line(inside, key, is_null):
    bad = {k: v for k, v in GOOD.items() if k != key} | ({key: None} if is_null else {})
    with pytest.raises(DataError, match=f"q.jsonl, line 3: no {key!r}; a question needs id, "):
        QuestionFile(write(inside / "q.jsonl", *rows(2), bad, *rows(2)))


@pytest.mark.parametrize("number", [1, 2, 5_000])
def test_malformed_json_is_named_with_its_line(inside, number):
    lines = [*rows(number - 1), '{"id": "b", "question": ', *rows(3)]
    with pytest.raises(DataError, match=f"q.jsonl, line {number}: not JSON"):
        QuestionFile(write(inside / "q.jsonl", *lines))


def test_an_array_is_told_from_lines(inside):
    with pytest.raises(DataError, match=r"q.json, line 1: wanted an object with id, question"):
        QuestionFile(write(inside / "q.json", rows(3)))
    (inside / "q.json").write_text(json.dumps(rows(3), indent=2))
    with pytest.raises(DataError, match=r"q.json, line 1: not JSON .*wanted one question a line"):
        QuestionFile(inside / "q.json")


def test_ids_that_are_the_same_only_as_text_are_duplicates(inside):
    path = write(inside / "q.jsonl", GOOD | {"id": 7}, *rows(2_000), GOOD | {"id": "7"})
    with pytest.raises(DataError, match=r"line 2002: the id '7' was used before .*line 1\)"):
        QuestionFile(path)


@pytest.mark.parametrize("start", [b"", GOOD_LINE, GOOD_LINE + b'{"id": "'])
def test_a_line_of_a_gibibyte_is_named_and_not_read(inside, memory_below, start):
    path = sparse(inside / "q.jsonl", start=start, end=b"\n")
    number = 1 + start.count(b"\n")
    with (
        memory_below(32 * MIB),
        pytest.raises(DataError, match=f"q.jsonl, line {number}: over {MIB} bytes; wanted one"),
    ):
        list(read_rows(path))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32", "latin-1", "shift_jis"])
def test_another_encoding_is_named(inside, encoding):
    sign = "日" if encoding == "shift_jis" else "é"
    text = json.dumps(GOOD | {"question": f"{sign}?"}, ensure_ascii=False)
    (inside / "q.jsonl").write_bytes(text.encode(encoding) + b"\n")
    with pytest.raises(DataError, match="q.jsonl, line 1: not JSON .*wanted one question a line"):
        QuestionFile(inside / "q.jsonl")


@pytest.mark.parametrize("depth", [64, 500, 2_000])
def test_what_nests_without_end_is_no_row(inside, depth):
    deep = json.dumps(GOOD)[:-1] + ', "note": ' + "[" * depth + "]" * depth + "}"
    with pytest.raises(
        DataError, match="line 1: not JSON .(nested more than 64|maximum recursion)"
    ):
        QuestionFile(write(inside / "q.jsonl", deep))


def test_a_hundred_choices_are_the_most(inside):
    many = [str(n) for n in range(101)]
    good = GOOD | {"choices": many[:100], "answer": "7"}
    bad = GOOD | {"id": "b", "choices": many, "answer": "7"}
    assert len(QuestionFile(write(inside / "good.jsonl", good))[0].choices) == 100
    with pytest.raises(DataError, match="line 2: 101 choices, wanted at most 100"):
        QuestionFile(write(inside / "bad.jsonl", good, bad))


@pytest.mark.parametrize(
    ("audio", "message"),
    [
        ("http://example.org/a.wav", "is a URL, and none is ever fetched"),
        ("HTTPS://example.org/a.wav", "is a URL"),
        ("file:///etc/passwd", "is a URL"),
        ("s3://bucket/a.wav", "is a URL"),
        ("data:audio/wav;base64,UklGRg==", "is a URL"),
        ("../outside/kept.wav", "lies outside"),
        ("a/../../outside/kept.wav", "lies outside"),
        ("/etc/passwd", "lies outside"),
        ("link.wav", "lies outside"),
        ("folder/kept.wav", "lies outside"),
        ("again.wav", "lies outside"),
        ("a/" * 3_000, "is no path"),
        ("x" * 300, "is no path"),
        ("é" * 200, "is no path"),
        ("a\0.wav", "is no path"),
    ],
)
def test_audio_outside_the_folder_is_refused(inside, outside, audio, message):
    (inside / "link.wav").symlink_to(outside)
    (inside / "folder").symlink_to(outside.parent)
    (inside / "again.wav").symlink_to("link.wav")
    with pytest.raises(DataError, match=f"line 1: audio .*{message}") as error:
        QuestionFile(write(inside / "q.jsonl", GOOD | {"audio": audio}))
    assert len(str(error.value)) < 600


def test_a_link_that_stays_inside_is_followed_and_one_to_itself_leads_nowhere(inside):
    (inside / "clips").mkdir()
    (inside / "clips" / "a.wav").touch()
    (inside / "link.wav").symlink_to("clips/a.wav")
    (inside / "loop.wav").symlink_to("loop.wav")
    paths = ["link.wav", str(inside / "clips" / "a.wav"), "clips/../clips/a.wav", "loop.wav"]
    questions = [GOOD | {"id": str(n), "audio": path} for n, path in enumerate(paths)]
    file = QuestionFile(write(inside / "q.jsonl", *questions))
    found = [Path(file[n].audio) for n in range(len(paths))]
    assert found == [*[inside.resolve() / "clips" / "a.wav"] * 3, inside.resolve() / "loop.wav"]


def test_a_link_that_is_turned_elsewhere_later_is_refused_when_it_is_used(inside, outside):
    (inside / "a.wav").touch()
    file = QuestionFile(write(inside / "q.jsonl", GOOD))
    (inside / "a.wav").unlink()
    (inside / "a.wav").symlink_to(outside)
    with pytest.raises(DataError, match="row 1: audio 'a.wav' lies outside"):
        file[0]


@pytest.mark.parametrize("is_shared", [False, True])
def test_parquet_that_is_far_larger_than_its_file_is_refused(inside, is_shared):
    text = pa.array(["y" * (MIB + MIB // 8)])
    shared = pa.DictionaryArray.from_arrays(pa.array([0] * 256, pa.int8()), text)
    note = shared if is_shared else shared.dictionary_decode()
    table = pa.table({key: [value] * 256 for key, value in GOOD.items()} | {"note": note})
    pq.write_table(table, inside / "q.parquet")
    assert (inside / "q.parquet").stat().st_size < 2 * MIB
    with pytest.raises(DataError, match="q.parquet, row 1: it and the 255 after it hold .*limit"):
        list(read_rows(inside / "q.parquet"))


def test_parquet_of_undecodable_text_is_named(inside):
    values = pa.array([b"a", b"\xff\xfe"]).cast(pa.string(), safe=False)
    table = pa.table({key: [value] * 2 for key, value in GOOD.items() if key != "id"})
    pq.write_table(table.append_column("id", values), inside / "q.parquet")
    with pytest.raises(DataError, match="q.parquet: .*can't decode byte"):
        list(read_rows(inside / "q.parquet"))


@settings(max_examples=400)
@example({"choices": False}, True)
@given(
    st.dictionaries(st.sampled_from([*GOOD, "dataset", "more"]), json_values, max_size=4)
    | json_values,
    st.booleans(),
)
def test_any_row_is_a_question_or_refused(tmp_path_factory, change, allow_open):
    row = GOOD | change if isinstance(change, dict) else change
    folder = tmp_path_factory.getbasetemp()
    found: list[Question] = []
    if taken_or_refused(
        lambda: found.append(parse_question(row, folder, "q, line 1", allow_open=allow_open)),
        "q, line 1",
    ):
        [question] = found
        assert question.answer in question.choices or (allow_open and not question.choices)
        assert Path(question.audio).is_relative_to(folder.resolve())
        json.dumps([question.id, question.question, question.extra], ensure_ascii=False).encode()


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> dict[str, list[bytes]]:
    """Contents of files as they should be, by suffix."""
    path = tmp_path_factory.mktemp("whole") / "q.parquet"
    tables = []
    for compression in ("none", "snappy", "zstd"):
        pq.write_table(pa.Table.from_pylist(rows(30)), path, compression=compression)
        tables.append(path.read_bytes())
    lines = "\n".join(json.dumps(row) for row in rows(20)).encode()
    return {".parquet": tables, ".jsonl": [lines, b"\xef\xbb\xbf" + lines]}


@settings(max_examples=300)
@given(data=st.data(), suffix=st.sampled_from([".jsonl", ".parquet"]))
def test_a_damaged_file_is_read_or_refused(tmp_path_factory, whole, data, suffix):
    path = tmp_path_factory.getbasetemp() / f"damaged{suffix}"
    path.write_bytes(data.draw(damaged(whole[suffix])))

    def read():
        for where, row in read_rows(path):
            parse_question(row, path.parent, where)

    taken_or_refused(read, str(path))


@settings(max_examples=10)
@given(data=st.data())
def test_a_damaged_file_is_opened_or_refused(tmp_path_factory, whole, data):
    path = tmp_path_factory.mktemp("damaged") / "q.jsonl"
    path.write_bytes(data.draw(damaged(whole[".jsonl"])))
    taken_or_refused(lambda: list(QuestionFile(path).wordings()), str(path))


RAW = {
    convert_avqa: {
        "id": 1,
        "video_name": "a_000030",
        "question_text": "What?",
        "multi_choice": ["x", "y"],
        "answer": 0,
        "question_relation": "Sound",
    },
    convert_musicbench: {
        "location": "a_000030.wav",
        "key": "C major",
        "keyprob": [0.9],
        "prompt_bpm": "Slow",
        "prompt_bt": "The time signature is 4/4.",
        "prompt_ch": "",
        "prompt_key": "The key is C major.",
        "bpm": 60.0,
    },
    convert_audiomcq: {
        "id": "1",
        "audio_path": "a_000030.wav",
        "question": "What?",
        "choices": ["x", "y"],
        "answer": "x",
    },
}


@settings(max_examples=150)
@given(
    st.sampled_from(list(RAW)),
    st.lists(st.dictionaries(st.integers(0, 9), json_values | texts, max_size=3), max_size=3),
    st.lists(json_values, max_size=2),
)
def test_any_raw_row_becomes_a_question_or_is_listed(tmp_path_factory, convert, changes, others):
    folder = tmp_path_factory.mktemp("raw")
    (folder / "clips").mkdir()
    (folder / "clips" / "a_000030.wav").write_bytes(b"a sound")
    good = RAW[convert]
    changed = [
        good | {list(good)[place % len(good)]: value for place, value in change.items()}
        for change in changes
    ]
    found = [good, *changed, *others]
    path = folder / "raw.json"
    text = json.dumps(found) if convert is convert_avqa else "\n".join(map(json.dumps, found))
    path.write_text(text)
    out = folder / "train.jsonl"

    def prepare():
        with QuestionWriter(out, audio=folder / "clips", raw=path, kind_key="kind") as writer:
            assert convert(path, writer) == len(found)

    taken_or_refused(prepare, str(path))
    assert {p.name for p in folder.iterdir()} == {"clips", "raw.json"}
