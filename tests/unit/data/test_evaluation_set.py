import json

from keomni_rl.data.evaluation_set import read_evaluation_set
from tests.unit.data.test_questions import GOOD, write


def test_a_held_out_file_of_the_training_format_is_evaluated_like_mmau(tmp_path):
    rows = [
        GOOD | {"id": "1", "question_type": "music", "dataset": "D"},
        GOOD | {"id": "2", "dataset": "D"},
        GOOD | {"id": "3", "task": "speech", "difficulty": "hard", "question_type": "music"},
    ]
    questions = read_evaluation_set(write(tmp_path / "h.jsonl", *rows))
    labels = [(q.extra["task"], q.extra["difficulty"], q.extra["sub-category"]) for q in questions]
    assert labels == [("music", "", ""), ("D", "", ""), ("speech", "hard", "")]
    assert questions[0].extra["record"]["audio_id"] == "a.wav"
    assert questions[0].answer == "x"


def test_an_array_is_mmau(tmp_path):
    record = {
        "id": "1",
        "audio_id": "./a.wav",
        "question": "What?",
        "choices": ["x", "y"],
        "answer": "x",
        "task": "sound",
        "difficulty": "easy",
    }
    (tmp_path / "m.json").write_text(json.dumps([record]))
    assert read_evaluation_set(tmp_path / "m.json")[0].extra["task"] == "sound"
