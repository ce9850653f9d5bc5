import json
from pathlib import Path

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


def test_parquet_reads_as_jsonl_does(tmp_path):
    import datasets

    datasets.Dataset.from_list(rows(5)).to_parquet(str(tmp_path / "q.parquet"))
    lines = QuestionFile(write(tmp_path / "q.jsonl", *rows(5)))
    table = QuestionFile(tmp_path / "q.parquet")
    assert [table[i] for i in range(5)] == [lines[i] for i in range(5)]


def test_byte_order_mark_and_crlf_are_read(tmp_path):
    path = tmp_path / "q.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(json.dumps(r) for r in rows(2)).encode())
    assert QuestionFile(path)[1].id == "q1"


BAD = [
    ("{oops", "line 2: not a JSON object"),
    ("9" * 5_000, "line 2: not a JSON object"),
    ([1, 2], "line 2: wanted an object"),
    ({k: v for k, v in GOOD.items() if k != "answer"}, "line 2: no 'answer'"),
    (GOOD | {"choices": "x"}, "line 2: 'choices' is 'x', wanted a list"),
    (GOOD | {"choices": ["x"]}, "line 2: 'choices'.*two or more"),
    (GOOD | {"choices": ["x", "x"]}, "line 2: 'choices'.*two or more"),
    (GOOD | {"answer": "z"}, r"line 2: the answer 'z' is not among the choices \['x', 'y'\]"),
    (GOOD | {"question": " "}, "line 2: 'question' is ' ', wanted text"),
    (GOOD | {"audio": "../a.wav"}, "line 2: audio '../a.wav' lies outside"),
    (GOOD | {"audio": "/etc/passwd"}, "line 2: audio '/etc/passwd' lies outside"),
    (GOOD | {"id": "q0"}, "line 2: id 'q0' was used before"),
    ('"' + "x" * 2**20 + '"', "line 2: over 1048576 bytes"),
]


@pytest.mark.parametrize(("row", "message"), BAD, ids=[m for _, m in BAD])
def test_a_bad_row_is_named_with_its_line(tmp_path, row, message):
    with pytest.raises(DataError, match=message):
        QuestionFile(write(tmp_path / "q.jsonl", GOOD | {"id": "q0"}, row))


def test_a_link_out_of_the_folder_is_refused(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.wav").symlink_to("/etc/passwd")
    with pytest.raises(DataError, match="lies outside"):
        QuestionFile(write(tmp_path / "in" / "q.jsonl", GOOD))


def test_bad_files_are_named(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        QuestionFile(tmp_path / "none.jsonl")
    with pytest.raises(DataError, match="holds no questions"):
        QuestionFile(write(tmp_path / "empty.jsonl", ""))
    with pytest.raises(DataError, match="wanted a .jsonl or .parquet"):
        QuestionFile(tmp_path / "q.csv")
    (tmp_path / "q.parquet").write_text("no parquet")
    with pytest.raises(DataError, match="not a Parquet file"):
        QuestionFile(tmp_path / "q.parquet")
