import json

import pytest

from keomni_rl.errors import DataError
from keomni_rl.evaluation.predictions import parse_prediction, read_joined, read_prediction_file
from keomni_rl.types import Prediction

ROW = {
    "id": "a",
    "audio_id": "/home/author/elsewhere/a.wav",
    "question": "Which?",
    "choices": ["dog ", "cat"],
    "answer": "dog ",
    "task": "sound",
    "difficulty": "hard",
    "category": ["Reasoning"],
    "sub-category": "Counting",
    "model_output": "dog",
    "model_output_raw": "<answer>dog</answer>",
    "finish_reason": "stop",
    "error": None,
}
LINE = {
    "id": "b",
    "model_output": "cat",
    "model_output_raw": "cat",
    "finish_reason": "length",
    "num_tokens": 3,
    "policy_version": 7,
    "error": None,
    "samples": ["cat", "dog"],
}


def without(row: dict, *keys: str) -> dict:
    return {k: v for k, v in row.items() if k not in keys}


@pytest.fixture
def write(tmp_path):
    def make(rows, name="predictions.json"):
        path = tmp_path / name
        if name.endswith(".jsonl"):
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        else:
            path.write_text("\ufeff" + json.dumps(rows), encoding="utf-8")
        return path

    return make


def test_the_official_array_is_read_without_its_sound(write):
    missing = without(ROW | {"id": 2}, "model_output", "sub-category")
    file = read_prediction_file(write([ROW, missing]), key="model_output")
    first, second = file.questions
    assert (first.id, first.choices, first.answer) == ("a", ("dog ", "cat"), "dog ")
    assert first.extra["sub-category"] == "Counting"
    assert (second.id, second.answer, second.extra["sub-category"]) == ("2", "dog ", "")
    assert file.predictions == {
        "a": Prediction(
            id="a",
            model_output="dog",
            model_output_raw="<answer>dog</answer>",
            finish_reason="stop",
        )
    }
    assert file.notes == ("1 of 2 questions have no 'model_output' and count as wrong: 2",)


def test_files_of_the_seed_systems_are_read(write):
    row = without(ROW, "model_output", "model_output_raw", "finish_reason", "error")
    theirs = row | {"model_output": "dog", "model_output_ori": "<answer>dog</answer>"}
    said = read_prediction_file(write([theirs]), key="model_output").predictions["a"]
    assert (said.model_output_raw, said.finish_reason) == ("<answer>dog</answer>", "")
    path = write([row | {"model_prediction": "dog"}])
    file = read_prediction_file(path, key="model_prediction")
    assert file.predictions["a"].model_output == "dog"
    assert "no whole completions" in file.notes[0]
    with pytest.raises(DataError, match="no entry has a 'model_output', but 1 have a 'model_pred"):
        read_prediction_file(path, key="model_output")
    with pytest.raises(DataError, match="no entry has a 'said', but 1 have a 'model_prediction'"):
        read_prediction_file(path, key="said")
    with pytest.raises(DataError, match="none of 1 entries has a 'model_output'"):
        read_prediction_file(write([row]), key="model_output")


def test_lines_are_put_to_their_questions(write, tmp_path):
    questions = write([ROW, ROW | {"id": "b"}, ROW | {"id": "c"}], "questions.json")
    lines = write([LINE], "predictions.jsonl")
    with lines.open("a") as file:
        file.write('{"id": "c", "model_ou')  # a kill cut it off
    file = read_prediction_file(lines, key="model_output", questions=questions)
    assert [q.id for q in file.questions] == ["a", "b", "c"]
    assert file.predictions == {"b": Prediction(**LINE | {"samples": ("cat", "dog")})}
    assert "2 of 3 questions have no 'model_output' and count as wrong: a, c" in file.notes
    with pytest.raises(DataError, match="without their questions; add --questions"):
        read_prediction_file(lines, key="model_output")


def test_predictions_in_the_other_copy_are_not_taken(write):
    ours, theirs = write([without(ROW, "error")]), write([ROW | {"model_output": "cat"}], "q.json")
    records, _ = read_joined(ours, key="model_output", questions=theirs)
    assert [record.fields for record in records] == [without(ROW, "error")]


def test_another_version_of_the_questions_is_told_with_counts(write):
    path = write([ROW, ROW | {"id": "b"}, ROW | {"id": "c"}])
    changed = [
        ROW | {"answer": "cat"},
        ROW | {"id": "b", "choices": ["dog ", "cow"], "question": "What?"},
        ROW | {"id": "c"},
    ]
    file = read_prediction_file(
        path, key="model_output", questions=write(changed, "questions.json")
    )
    assert [q.answer for q in file.questions] == ["cat", "dog ", "dog "]
    assert file.notes[0].startswith(
        "2 of 3 questions differ from the predictions' own copy (text 1, choices 1, answer 1)"
    )


def test_ids_that_are_doubled_or_unknown_are_named(write):
    with pytest.raises(DataError, match="entry 2: id 'a' occurs twice .*entry 1"):
        read_prediction_file(write([ROW, ROW]), key="model_output")
    with pytest.raises(DataError, match="entry 1: no 'id'"):
        read_prediction_file(write([without(ROW, "id")]), key="model_output")
    questions = write([ROW], "questions.json")
    lines = write([LINE, LINE], "lines.jsonl")
    with pytest.raises(DataError, match="line 2: id 'b' occurs twice .*line 1"):
        read_prediction_file(lines, key="model_output", questions=questions)
    lines = write([LINE], "lines.jsonl")
    with pytest.raises(DataError, match="line 1: 1 of 1 predictions are for other questions: b;"):
        read_prediction_file(lines, key="model_output", questions=questions)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": ["sound"]}, r"entry 1: 'task' is \['sound'\], wanted text or nothing"),
        ({"difficulty": 3}, "entry 1: 'difficulty' is 3, wanted text or nothing"),
        ({"choices": ["dog"]}, r"entry 1: 'choices' is \['dog'\], wanted"),
        ({"choices": ["dog", 2]}, "entry 1: 'choices' is"),
        ({"answer": 0}, "entry 1: 'answer' is 0"),
        ({"model_output": ["dog"]}, r"entry 1: 'model_output' is \['dog'\]; wanted text"),
        ({"model_output": 3}, "entry 1: 'model_output' is 3; wanted text"),
        ({"model_output": True}, "entry 1: 'model_output' is True; wanted text"),
        ({"model_output_raw": 7}, "entry 1: 'model_output_raw' is 7"),
        ({"samples": "dog"}, "entry 1: 'samples' is 'dog'"),
    ],
)
def test_a_malformed_entry_is_named(write, change, message):
    with pytest.raises(DataError, match=message):
        read_prediction_file(write([ROW | change]), key="model_output")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no entries"),
        ("[]", "holds no entries"),
        ('[{"id": ', "not JSON"),
        ('[{"id": "a"}, 3]', "entry 2: wanted an object, got 3"),
        ('{"id": "a"}\nnonsense\n', "line 2: not a JSON object"),
        ("nonsense", "line 1: not a JSON object"),
        ('"dog"', "line 1: wanted an object, got 'dog'"),
        ("{}", "one object with nothing in it; wanted MMAU's array"),
        ('{\n"a": {"model_output": "dog"},\n"b": {}}', "one object with 'a', 'b'; wanted MMAU's"),
        ('{"predictions": [{"id": "a"}]}', "one object with 'predictions'; wanted MMAU's array"),
        ("[" * 100_000, "not JSON"),
        ("[" + "9" * 5000 + "]", "not JSON"),
        ('{"id": ' + "9" * 5000 + "}\n", "line 1: not a JSON object"),
        ('{"id": ' + "[" * 100_000 + "\n", "line 1: not a JSON object"),
    ],
)
def test_a_file_that_is_no_predictions_is_named(tmp_path, text, message):
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(DataError, match=f"bad.json.*{message}"):
        read_prediction_file(path, key="model_output")


def test_a_held_out_set_has_tasks_of_its_own_and_no_difficulty(write):
    rows = [without(ROW, "difficulty") | {"task": "Come From"}, ROW | {"id": "b", "difficulty": ""}]
    first, second = read_prediction_file(write(rows), key="model_output").questions
    assert (first.extra["task"], first.extra["difficulty"]) == ("Come From", "")
    assert (second.extra["task"], second.extra["difficulty"]) == ("sound", "")


def test_what_is_wrong_with_a_question_is_said_of_its_own_file(write):
    predictions = write([ROW], "predictions.json")

    def refused(question: dict, message: str) -> None:
        questions = write([question], "questions.json")
        with pytest.raises(DataError, match=message):
            read_prediction_file(predictions, key="model_output", questions=questions)

    refused(without(ROW, "choices"), r"questions\.json: holds no questions; wanted MMAU's JSON")
    refused(ROW | {"choices": ["dog"]}, r"questions\.json, entry 1: 'choices' is \['dog'\]")
    questions = write([ROW, without(ROW | {"id": "b"}, "answer")], "questions.json")
    with pytest.raises(DataError, match=r"questions\.json: 1 of 2 questions have no answer: b"):
        read_prediction_file(predictions, key="model_output", questions=questions)


def test_the_solution_is_no_prediction(write):
    for key in ("answer", "choices", "question"):
        with pytest.raises(DataError, match=f"--key {key} is the question's own {key}"):
            read_prediction_file(write([ROW]), key=key)


def test_a_missing_or_binary_file_is_named(tmp_path):
    with pytest.raises(DataError, match="a folder; name the file of predictions"):
        read_prediction_file(tmp_path, key="model_output")
    with pytest.raises(DataError, match="no such file"):
        read_prediction_file(tmp_path / "none.json", key="model_output")
    (tmp_path / "bad.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="not a text file"):
        read_prediction_file(tmp_path / "bad.json", key="model_output")


def test_a_key_that_is_null_everywhere_is_not_named_as_the_way_out(write):
    rows = [without(ROW, "model_output") | {"model_output": None, "model_prediction": None}]
    for key in ("model_output", "model_prediction"):
        with pytest.raises(DataError, match=f"none of 1 entries has a '{key}' to judge"):
            read_prediction_file(write(rows), key=key)
    rows = [*rows, rows[0] | {"id": "other", "model_prediction": "dog"}]
    with pytest.raises(DataError, match="but 1 have a 'model_prediction'; add --key"):
        read_prediction_file(write(rows), key="model_output")


def test_what_misleads_a_score_is_told(write):
    rows = [
        ROW | {"choices": ["(A) dog", "(B) cat"], "answer": "(A) dog", "model_output": "dog"},
        ROW
        | {
            "id": "b",
            "choices": ["(A) dog", "(B) cat"],
            "answer": "dog",
            "model_output": "<answer>dog</answer>",
        },
    ]
    notes = read_prediction_file(write(rows), key="model_output").notes
    assert notes[0] == "1 answers are none of their choices: b"
    assert notes[1].startswith("1 of 2 answers still hold <answer>")
    assert notes[2].startswith("all choices begin with a letter in brackets")


def test_an_entry_is_one_prediction():
    assert parse_prediction(LINE, "line 1").samples == ("cat", "dog")
    with pytest.raises(DataError, match="line 1: 'said' is None"):
        parse_prediction(LINE, "line 1", key="said")
