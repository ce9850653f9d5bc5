import json
import resource

import pytest

from keomni_rl.data.mmau import (
    NUM_TEST,
    TEXTS,
    VERSIONS,
    detect_version,
    find_version,
    ids_digest,
    read_mmau,
    text_digest,
    write_predictions,
)
from keomni_rl.errors import DataError
from keomni_rl.types import Prediction

RECORD = {
    "id": "a",
    "audio_id": "./test-mini-audios/a.wav",
    "question": "What?",
    "choices": ["dog ", "cat"],
    "answer": "dog ",
    "dataset": "AudioSet",
    "task": "sound",
    "split": "test-mini",
    "category": ["Reasoning"],
    "sub-category": "Counting",
    "difficulty": "hard",
}


def write(tmp_path, *records):
    path = tmp_path / "mmau.json"
    path.write_text(json.dumps(list(records)))
    return path


def test_read_keeps_the_record_for_the_predictions_file(tmp_path):
    path = write(tmp_path, RECORD, RECORD | {"id": "b"})
    questions = read_mmau(path)
    assert questions[0].extra["task"] == "sound"
    assert questions[0].audio.endswith("/test-mini-audios/a.wav")
    said = Prediction(
        id="b", model_output="cat", model_output_raw="<answer>cat", finish_reason="stop"
    )
    write_predictions(tmp_path / "out.json", questions, {"b": said})
    first, second = json.loads((tmp_path / "out.json").read_text())
    assert first == RECORD
    assert second["model_output"] == "cat"
    assert RECORD.items() <= (second | {"id": "a"}).items()


def test_audio_under_an_authors_absolute_path_is_found_by_name(tmp_path):
    (tmp_path / "test-mini-audios").mkdir()
    (tmp_path / "test-mini-audios" / "a.wav").touch()
    path = write(tmp_path, RECORD | {"audio_id": "/home/author/mmau/a.wav"})
    assert read_mmau(path)[0].audio == str(tmp_path / "test-mini-audios" / "a.wav")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"answer": "cow"}, "entry 2: the answer 'cow' is not among"),
        ({"task": "smell"}, "entry 2: task 'smell'"),
        ({"choices": "dog"}, "entry 2: 'choices'"),
        ({"choices": ["dog ", 3]}, "entry 2: 'choices' .* wanted a list of texts"),
        ({"choices": ["dog "]}, "entry 2: 'choices' .* two or more"),
        ({"choices": 5, "answer": ""}, "entry 2: 'choices'"),
        ({"question": None}, "entry 2: 'question' is None, wanted text"),
        ({"audio_id": "../../etc/passwd"}, "entry 2: audio .* lies outside"),
        ({"id": "a"}, "id 'a' occurs twice"),
    ],
)
def test_a_bad_entry_is_named(tmp_path, change, message):
    with pytest.raises(DataError, match=message):
        read_mmau(write(tmp_path, RECORD, RECORD | {"id": "b"} | change))


def test_bad_files_are_named(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_mmau(tmp_path / "none.json")
    (tmp_path / "bad.json").write_text('[{"id": ')
    with pytest.raises(DataError, match="not JSON.*line 1"):
        read_mmau(tmp_path / "bad.json")
    (tmp_path / "dict.json").write_text("{}")
    with pytest.raises(DataError, match="wanted a JSON array"):
        read_mmau(tmp_path / "dict.json")


def test_other_questions_are_of_no_official_version():
    assert detect_version(["a", "b"]) == "custom"


def test_categories_are_one_text_and_the_record_stays(tmp_path):
    both = RECORD | {"id": "b", "category": ["Reasoning", "Information Extraction"]}
    plain = RECORD | {"id": "c", "category": "Reasoning"}
    questions = read_mmau(write(tmp_path, RECORD, both, plain))
    assert [question.extra["category"] for question in questions] == [
        "Reasoning",
        "Reasoning, Information Extraction",
        "Reasoning",
    ]
    assert questions[1].extra["record"] == both


def test_repeated_options_and_spaces_are_official_and_stay(tmp_path):
    choices = ["dog ", "cat", "dog "]
    (question,) = read_mmau(write(tmp_path, RECORD | {"choices": choices}))
    assert question.choices == tuple(choices)
    assert question.answer == "dog "


@pytest.mark.parametrize("change", [{"answer": ""}, {"answer": None}, {}])
def test_a_question_whose_answer_is_kept_back_has_none(tmp_path, change):
    record = {key: value for key, value in RECORD.items() if key != "answer"} | change
    assert read_mmau(write(tmp_path, record))[0].answer is None


def test_the_test_split_is_known_by_its_number_and_its_missing_answers(tmp_path):
    unanswered = {key: value for key, value in RECORD.items() if key != "answer"}
    records = [unanswered | {"id": str(n)} for n in range(NUM_TEST)]
    questions = read_mmau(write(tmp_path, *records))
    assert find_version(questions) == "test (9000 questions without answers)"
    assert find_version(questions[1:]) == "custom"


def test_a_version_is_told_from_one_of_the_same_ids_with_other_text(tmp_path, monkeypatch):
    records = [RECORD, RECORD | {"id": "b"}]
    questions = read_mmau(write(tmp_path, *records))
    assert find_version(questions) == "custom"
    monkeypatch.setitem(VERSIONS, ids_digest(["b", "a"]), "v9")
    assert find_version(questions) == "v9, other text"
    monkeypatch.setitem(TEXTS, text_digest(questions), "v9")
    assert find_version(questions) == "v9"
    assert find_version(questions[::-1]) == "v9"
    for change in ({"answer": "cat"}, {"question": "Why?"}, {"choices": ["cat", "dog "]}):
        changed = read_mmau(write(tmp_path, RECORD, RECORD | {"id": "b"} | change))
        assert find_version(changed) == "v9, other text"
    # The category is no part of what is asked.
    assert (
        find_version(read_mmau(write(tmp_path, *[r | {"category": "x"} for r in records]))) == "v9"
    )


@pytest.mark.parametrize("key", ["category", "sub-category"])
@pytest.mark.parametrize(
    ("value", "text"),
    [(["Counting", "Rhythm"], "Counting, Rhythm"), (None, ""), (3, "3"), ({"a": 1}, "{'a': 1}")],
)
def test_what_scores_are_grouped_by_is_text(tmp_path, key, value, text):
    (question,) = read_mmau(write(tmp_path, RECORD | {key: value}))
    assert question.extra[key] == text
    assert question.extra["record"][key] == value


@pytest.mark.parametrize("audio_id", ["a\0.wav", "x" * 300 + ".wav", "\ud800.wav"])
def test_an_audio_id_that_can_be_no_file_is_named(tmp_path, audio_id):
    path = write(tmp_path, RECORD, RECORD | {"id": "b", "audio_id": audio_id})
    with pytest.raises(DataError, match=r"mmau.json, entry 2: audio '.* is no path"):
        read_mmau(path)


def test_a_number_of_too_many_digits_is_no_json(tmp_path):
    path = tmp_path / "mmau.json"
    path.write_text('[{"id": ' + "9" * 5_000 + "}]")
    with pytest.raises(DataError, match="mmau.json: not JSON"):
        read_mmau(path)


def test_half_a_surrogate_pair_does_not_cost_the_predictions(tmp_path):
    questions = read_mmau(write(tmp_path, RECORD | {"id": "\udfff", "question": "\ud800?"}))
    assert find_version(questions) == "custom"
    said = Prediction(
        id="\udfff", model_output="c\ud800t", model_output_raw="é", finish_reason="stop"
    )
    write_predictions(tmp_path / "out.json", questions, {"\udfff": said})
    (record,) = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert (record["question"], record["model_output"]) == ("??", "c?t")
    assert record["model_output_raw"] == "é"


def test_predictions_that_the_disk_does_not_take_leave_the_earlier_ones(tmp_path):
    questions = read_mmau(write(tmp_path, RECORD))
    path = tmp_path / "out.json"
    write_predictions(path, questions, {})
    before = path.read_bytes()
    long = Prediction(
        id="a", model_output="x" * 200_000, model_output_raw="", finish_reason="length"
    )
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            write_predictions(path, questions, {"a": long})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
