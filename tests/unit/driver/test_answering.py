"""What a folder of answers holds when an evaluation goes on."""

import json

import pytest

from keomni_rl.config import EvaluateConfig, load_config
from keomni_rl.driver.answering import read_answers
from keomni_rl.driver.evaluate import refuse_other_answers
from keomni_rl.errors import ConfigError, DataError
from keomni_rl.types import Question


def line(name: str, text: str, error: str | None = None) -> str:
    said = {"model_output": text, "model_output_raw": text, "finish_reason": "stop"}
    return json.dumps({"id": name, **said, "error": error}) + "\n"


def test_failed_and_half_written_answers_are_asked_again_and_the_others_kept(tmp_path):
    file = tmp_path / "predictions.jsonl"
    file.write_text(
        line("a", "dog") + line("b", "", "lost") + line("c", "caf\u00e9 \ud83d") + '{"i'
    )
    answers = read_answers(tmp_path)
    assert list(answers) == ["a", "c"]
    assert answers["a"].model_output == "dog"
    left = [json.loads(text) for text in file.read_text().splitlines()]
    assert [(row["id"], row["model_output"]) for row in left] == [
        ("a", "dog"),
        ("c", "caf\u00e9 ?"),
    ]
    assert list(read_answers(tmp_path)) == ["a", "c"]


def test_a_folder_without_answers_has_none(tmp_path):
    assert read_answers(tmp_path / "none") == {}
    (tmp_path / "predictions.jsonl").write_text('{"id": "a", "model_output": 3}\n')
    with pytest.raises(DataError, match=r"predictions\.jsonl, line 1: 'model_output' is 3"):
        read_answers(tmp_path)


def test_answers_to_questions_that_are_no_longer_asked_are_refused():
    words = ["run_dir=r", "evaluation.file=q.json", "model.path=m"]
    config = load_config(EvaluateConfig, words)
    asked = [
        Question(id=name, question="?", choices=("x", "y"), answer="x", audio="") for name in "ab"
    ]
    refuse_other_answers(config, asked, ["b"])
    with pytest.raises(
        ConfigError, match=r"r: 2 of its answers .* q\.json does not hold .*: c, d;"
    ):
        refuse_other_answers(config, asked, ["c", "a", "d"])
