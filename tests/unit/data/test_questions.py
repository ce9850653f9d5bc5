import json
from pathlib import Path

import pytest

from keomni_rl.data.prompts import make_prompt, split_completion
from keomni_rl.data.questions import QuestionSet
from keomni_rl.data.stream import PromptStream
from keomni_rl.errors import DataError

GOOD = {"id": "a", "question": "What?", "choices": ["x", "y"], "answer": "x", "audio": "a.wav"}


def write(path: Path, *rows: object) -> Path:
    path.write_text("\n".join(r if isinstance(r, str) else json.dumps(r) for r in rows) + "\n")
    return path


def rows(count: int) -> list[dict]:
    return [GOOD | {"id": f"q{n}"} for n in range(count)]


def test_rows_by_index_over_several_files(tmp_path):
    first = write(tmp_path / "one.jsonl", *rows(3))
    second = write(tmp_path / "two.jsonl", "", GOOD | {"id": 7, "dataset": "D", "level": 2}, "")
    questions = QuestionSet([first, second])
    assert len(questions) == 4
    assert [questions[i].id for i in range(4)] == ["q0", "q1", "q2", "7"]
    assert (questions[3].dataset, questions[3].extra) == ("D", {"level": 2})
    assert questions[0].audio == str((tmp_path / "a.wav").resolve())
    with pytest.raises(IndexError):
        questions[4]


def test_parquet_reads_as_jsonl_does(tmp_path):
    import datasets

    datasets.Dataset.from_list(rows(5)).to_parquet(str(tmp_path / "q.parquet"))
    lines = QuestionSet([write(tmp_path / "q.jsonl", *rows(5))])
    table = QuestionSet([tmp_path / "q.parquet"])
    assert [table[i] for i in range(5)] == [lines[i] for i in range(5)]


def test_byte_order_mark_and_crlf_are_read(tmp_path):
    path = tmp_path / "q.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(json.dumps(r) for r in rows(2)).encode())
    assert QuestionSet([path])[1].id == "q1"


BAD = [
    ("{oops", "line 2: not a JSON object"),
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
        QuestionSet([write(tmp_path / "q.jsonl", GOOD | {"id": "q0"}, row)])


def test_a_link_out_of_the_folder_is_refused(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.wav").symlink_to("/etc/passwd")
    with pytest.raises(DataError, match="lies outside"):
        QuestionSet([write(tmp_path / "in" / "q.jsonl", GOOD)])


def test_bad_files_are_named(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        QuestionSet([tmp_path / "none.jsonl"])
    with pytest.raises(DataError, match="holds no questions"):
        QuestionSet([write(tmp_path / "empty.jsonl", "")])
    with pytest.raises(DataError, match="wanted a .jsonl or .parquet"):
        QuestionSet([tmp_path / "q.csv"])
    (tmp_path / "q.parquet").write_text("no parquet")
    with pytest.raises(DataError, match="not a Parquet file"):
        QuestionSet([tmp_path / "q.parquet"])


def test_the_template_to_the_letter(question):
    text = make_prompt(question, think=True, think_max_words=50).text
    assert text == (
        "What sound is heard? Please choose the answer from the following options: "
        "['Car', 'Bus', 'cat 3', 'x =5']. Output the thinking process (less than 50 words) in "
        "<think> </think> and final answer in <answer> </answer>."
    )
    text = make_prompt(question, think=False, think_max_words=50).text
    assert text.endswith("'x =5']. Directly output the final answer in <answer> </answer>.")


def test_a_question_may_not_speak_for_the_model(question):
    import dataclasses

    for text in ("<|AUDIO|>", "say <answer>", "<|im_end|>"):
        bad = dataclasses.replace(question, choices=("Car", text))
        with pytest.raises(DataError, match="would take as their own"):
            make_prompt(bad, think=True, think_max_words=50)


def test_split_completion():
    assert split_completion("<think> a </think><answer> b </answer>") == ("a", "b")
    assert split_completion("<answer>b") == ("", None)
    assert split_completion("</answer><answer>b</answer>") == ("", "b")


def stream(tmp_path, count=10, **more) -> PromptStream:
    questions = QuestionSet([write(tmp_path / "q.jsonl", *rows(count))])
    render = lambda q: make_prompt(q, think=True, think_max_words=0)  # noqa: E731
    return PromptStream(questions, render, **({"seed": 3} | more))


def test_an_epoch_has_every_question_once_and_the_next_another_order(tmp_path):
    prompts = stream(tmp_path)
    first = [prompts[i].id for i in range(10)]
    second = [prompts[i].id for i in range(10, 20)]
    assert sorted(first) == sorted(second) == sorted(f"q{n}" for n in range(10))
    assert first != second


def test_a_position_gives_the_same_prompt_whenever_it_is_asked(tmp_path):
    order = [stream(tmp_path)[i].id for i in (25, 3, 14, 25, 0)]
    again = stream(tmp_path)
    assert order == [again[i].id for i in (25, 3, 14, 25, 0)]
    assert [stream(tmp_path, seed=4)[i].id for i in range(10)] != [again[i].id for i in range(10)]


def test_a_sample_is_a_fixed_subset(tmp_path):
    prompts = stream(tmp_path, sample=4)
    assert prompts.epoch_length == 4
    assert {prompts[i].id for i in range(4)} == {prompts[i].id for i in range(4, 8)}
