import datetime
import decimal
import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from keomni_rl.data.questions import QuestionFile
from keomni_rl.errors import DataError

GOOD = {"id": "a", "question": "What?", "choices": ["x", "y"], "answer": "x", "audio": "a.wav"}


def write(path: Path, *rows: object) -> Path:
    path.write_text("\n".join(r if isinstance(r, str) else json.dumps(r) for r in rows) + "\n")
    return path


def rows(count: int) -> list[dict]:
    return [GOOD | {"id": f"q{n}"} for n in range(count)]


def test_rows_by_index(tmp_path):
    more = GOOD | {"id": 7, "dataset": "D", "level": 2, "text": None}
    questions = QuestionFile(write(tmp_path / "two.jsonl", "", GOOD, more, ""))
    assert [questions[i].id for i in range(len(questions))] == ["a", "7"]
    assert questions[1].dataset == "D"
    assert questions[1].extra == {"level": 2, "text": None}
    assert questions[1].choices == ("x", "y")
    assert questions[0].audio == str((tmp_path / "a.wav").resolve())
    with pytest.raises(IndexError):
        questions[2]


def test_a_changed_file_is_read_anew(tmp_path):
    path = write(tmp_path / "q.jsonl", *rows(2))
    assert len(QuestionFile(path)) == 2
    assert len(QuestionFile(write(path, *rows(3)))) == 3


def test_open_questions_are_taken_only_where_they_can_be_used(tmp_path):
    path = write(tmp_path / "q.jsonl", GOOD | {"choices": [], "answer": "anything"})
    with pytest.raises(DataError, match="line 1: 'choices' is \\[\\], wanted two or more"):
        QuestionFile(path)
    assert QuestionFile(path, allow_open=True)[0].choices == ()


def test_many_questions_stay_on_disk(tmp_path):
    """The table is mapped, not read: a row of a large file is as good as one of a small one."""
    text = "x" * 1000
    path = tmp_path / "q.jsonl"
    with path.open("w") as file:
        for n in range(20_000):
            file.write(json.dumps(GOOD | {"id": f"q{n}", "note": text}) + "\n")
    questions = QuestionFile(path)
    table = questions._table
    assert table.cache_files
    assert len(questions) == 20_000
    assert questions[19_999].id == "q19999"
    assert questions[19_999].extra == {"note": text}


def write_table(path: Path, *rows: dict) -> Path:
    pq.write_table(pa.Table.from_pylist(list(rows)), path)
    return path


def test_parquet_reads_as_jsonl_does(tmp_path):
    write_table(tmp_path / "q.parquet", *rows(5))
    lines = QuestionFile(write(tmp_path / "q.jsonl", *rows(5)))
    table = QuestionFile(tmp_path / "q.parquet")
    assert [table[i] for i in range(5)] == [lines[i] for i in range(5)]


def test_columns_that_json_has_no_form_for_are_passed_over(tmp_path):
    odd = {
        "when": datetime.datetime(2020, 1, 1),
        "day": datetime.date(2020, 1, 1),
        "took": datetime.timedelta(1),
        "blob": b"\xff",
        "image": {"bytes": b"\xff", "path": "x.png"},
        "price": decimal.Decimal("1.5"),
    }
    kept = {"level": 2, "tags": ["p", None], "of": {"deep": 1.5}, "fine": True}
    path = write_table(tmp_path / "q.parquet", GOOD | odd | kept, GOOD | {"id": "b"} | odd)
    assert QuestionFile(path)[0].extra == kept


def test_what_is_no_number_is_null(tmp_path):
    path = write(tmp_path / "q.jsonl", GOOD | {"level": float("nan"), "most": float("inf")})
    assert "NaN" in path.read_text()
    assert QuestionFile(path)[0].extra == {"level": None, "most": None}


def test_no_dataset_is_no_text(tmp_path):
    nothing = GOOD | {"dataset": None}
    lines = QuestionFile(write(tmp_path / "q.jsonl", nothing, GOOD | {"id": "b"}))
    table = QuestionFile(write_table(tmp_path / "q.parquet", nothing))
    assert [q.dataset for q in (lines[0], lines[1], table[0])] == ["", "", ""]


def test_a_whole_pair_of_surrogates_is_a_character(tmp_path):
    path = write(tmp_path / "q.jsonl", json.dumps(GOOD | {"question": "\U0001f436?"}))
    assert "\\ud83d" in path.read_text()
    assert QuestionFile(path)[0].question == "\U0001f436?"


def test_byte_order_mark_and_crlf_are_read(tmp_path):
    path = tmp_path / "q.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(json.dumps(r) for r in rows(2)).encode())
    assert QuestionFile(path)[1].id == "q1"


BAD = [
    ("{oops", "line 2: not JSON .*wanted one question a line"),
    ("9" * 5_000, "line 2: not JSON"),
    ("[" * 100_000, "line 2: not JSON"),
    ([1, 2], "line 2: wanted an object"),
    ({k: v for k, v in GOOD.items() if k != "answer"}, "line 2: no 'answer'"),
    (GOOD | {"choices": "x"}, "line 2: 'choices' is 'x', wanted a list"),
    (GOOD | {"choices": ["x"]}, "line 2: 'choices'.*two or more"),
    (GOOD | {"choices": ["x", "x"]}, "line 2: 'choices'.*two or more"),
    (GOOD | {"choices": [1, 2]}, r"line 2: 'choices' is \[1, 2\], wanted a list of texts"),
    (GOOD | {"choices": ["x", " "]}, r"line 2: 'choices' is \['x', ' '\], wanted a list of texts"),
    (GOOD | {"choices": None}, "line 2: no 'choices'"),
    (GOOD | {"answer": "z"}, r"line 2: the answer 'z' is not among the choices \['x', 'y'\]"),
    (GOOD | {"answer": 0}, "line 2: 'answer' is 0, wanted text"),
    (GOOD | {"dataset": 5}, "line 2: 'dataset' is 5, wanted text or nothing"),
    (GOOD | {"id": [1]}, r"line 2: 'id' is \[1\], wanted text or a whole number"),
    (GOOD | {"id": True}, "line 2: 'id' is True, wanted text or a whole number"),
    (GOOD | {"id": 1.5}, "line 2: 'id' is 1.5, wanted text or a whole number"),
    (GOOD | {"id": " "}, "line 2: 'id' is ' ', wanted text or a whole number"),
    (GOOD | {"id": "\ud800"}, r"line 2: 'id' holds '\\ud800', half of a character"),
    (GOOD | {"question": "a\udfff?"}, r"line 2: 'question' holds '\\udfff', half of a character"),
    (GOOD | {"choices": ["x", "\ud800"]}, r"line 2: 'choices' holds '\\ud800', half"),
    (GOOD | {"dataset": "\ud800"}, r"line 2: 'dataset' holds '\\ud800', half"),
    (GOOD | {"audio": "\ud800.wav"}, r"line 2: 'audio' holds '\\ud800', half"),
    (GOOD | {"note": [{"\ud800": 1}]}, r"line 2: 'note' holds '\\ud800', half"),
    (GOOD | {"audio": "a\0.wav"}, r"line 2: audio 'a\\x00.wav' is no path"),
    (GOOD | {"question": " "}, "line 2: 'question' is ' ', wanted text"),
    (GOOD | {"audio": "../a.wav"}, "line 2: audio '../a.wav' lies outside"),
    (GOOD | {"audio": "/etc/passwd"}, "line 2: audio '/etc/passwd' lies outside"),
    (GOOD | {"audio": "UklGR" * 100}, r"line 2: audio 'UklGR.* is no path .a name of over 255"),
    (GOOD | {"id": "q0"}, r"line 2: the id 'q0' was used before \(.*q.jsonl, line 1\)"),
    ('"' + "x" * 2**20 + '"', "line 2: over 1048576 bytes"),
]


@pytest.mark.parametrize(("row", "message"), BAD, ids=[m for _, m in BAD])
def test_a_bad_row_is_named_with_its_line(tmp_path, row, message):
    with pytest.raises(DataError, match=message):
        QuestionFile(write(tmp_path / "q.jsonl", GOOD | {"id": "q0"}, row))


BAD_COLUMNS = [
    ({"id": b"q"}, "row 1: the column 'id' is of the type binary, wanted text"),
    ({"id": datetime.date(2020, 1, 1)}, "row 1: the column 'id' is of the type date32"),
    ({"audio": {"bytes": b"q", "path": "a"}}, "row 1: the column 'audio' is of the type struct<"),
    ({"choices": [b"q"]}, "row 1: the column 'choices' is of the type .*wanted a list of texts"),
    ({"choices": [1, 2]}, r"row 1: 'choices' is \[1, 2\], wanted a list of texts"),
    ({"question": 3}, "row 1: 'question' is 3, wanted text"),
    ({"dataset": ["D"]}, r"row 1: 'dataset' is \['D'\], wanted text or nothing"),
    ({"answer": None}, "row 1: no 'answer'"),
]


@pytest.mark.parametrize(("change", "message"), BAD_COLUMNS, ids=[m for _, m in BAD_COLUMNS])
def test_a_bad_column_is_named_with_its_row(tmp_path, change, message):
    with pytest.raises(DataError, match=f"q.parquet, {message}"):
        QuestionFile(write_table(tmp_path / "q.parquet", GOOD | change))


def test_a_bad_row_of_parquet_is_named(tmp_path):
    path = write_table(tmp_path / "q.parquet", *rows(3), GOOD | {"answer": "z"})
    with pytest.raises(DataError, match=r"q.parquet, row 4: the answer 'z'"):
        QuestionFile(path)
    with pytest.raises(DataError, match=r"row 3: the id 'q1' was used before \(.*row 2\)"):
        QuestionFile(write_table(path, *rows(2), *rows(2)[1:]))


def test_a_damaged_parquet_file_is_named(tmp_path):
    path = write_table(tmp_path / "q.parquet", *rows(5_000))
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    with pytest.raises(DataError, match="q.parquet: not a Parquet file that can be read"):
        QuestionFile(path)
    path.write_bytes(whole[:200] + b"\xff" * 400 + whole[600:])
    with pytest.raises(DataError, match="q.parquet: (damaged after row|not a Parquet file)"):
        QuestionFile(path)


def test_a_link_out_of_the_folder_is_refused(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.wav").symlink_to("/etc/passwd")
    with pytest.raises(DataError, match="lies outside"):
        QuestionFile(write(tmp_path / "in" / "q.jsonl", GOOD))


def test_bad_files_are_named(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        QuestionFile(tmp_path / "none.jsonl")
    (tmp_path / "folder.jsonl").mkdir()
    with pytest.raises(DataError, match="folder.jsonl: a folder; name the file of questions in it"):
        QuestionFile(tmp_path / "folder.jsonl")
    for content in (b"", b"\n", b"\xef\xbb\xbf"):
        (tmp_path / "empty.jsonl").write_bytes(content)
        with pytest.raises(DataError, match="holds no questions"):
            QuestionFile(tmp_path / "empty.jsonl")
    with pytest.raises(DataError, match="wanted a .jsonl or .parquet"):
        QuestionFile(tmp_path / "q.csv")
    (tmp_path / "q.parquet").write_text(json.dumps(GOOD))
    with pytest.raises(DataError, match="not a Parquet file"):
        QuestionFile(tmp_path / "q.parquet")
    write_table(tmp_path / "other.parquet", GOOD).rename(tmp_path / "other.jsonl")
    with pytest.raises(
        DataError,
        match="other.jsonl: Parquet, which its name does not say; wanted one question a line",
    ):
        QuestionFile(tmp_path / "other.jsonl")
    (tmp_path / "wide.jsonl").write_text("\ufeff" + json.dumps(GOOD) + "\n", encoding="utf-16-le")
    with pytest.raises(DataError, match="wide.jsonl, line 1: not JSON .*can't decode byte"):
        QuestionFile(tmp_path / "wide.jsonl")


FULL_DISK = """
import resource, signal
from pathlib import Path
from keomni_rl.data.questions import QuestionFile
from keomni_rl.errors import DataError

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    QuestionFile(Path("q.jsonl"))
except DataError as error:
    print(error)
"""


def test_a_table_that_the_disk_does_not_take_is_named(tmp_path):
    many = [GOOD | {"id": str(n), "note": "z" * 500} for n in range(1_000)]
    write(tmp_path / "q.jsonl", *many)
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK],
        cwd=tmp_path,
        env=os.environ | {"HF_DATASETS_CACHE": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
    )
    told = f"q.jsonl: its table cannot be written to {tmp_path / 'cache'} ("
    assert told in done.stdout, done.stderr
