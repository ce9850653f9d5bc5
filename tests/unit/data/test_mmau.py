import json

import pytest

from keomni_rl.data.mmau import detect_version, read_mmau, write_predictions
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
        ({"audio_id": "../../etc/passwd"}, "entry 2: audio_id .* lies outside"),
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
