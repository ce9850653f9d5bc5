import pytest

from keomni_rl.evaluation.summary import Share, read_summary, summarise, write_summary
from keomni_rl.types import Prediction, Question


def question(n: int, task: str) -> Question:
    return Question(
        id=f"q{n}",
        question="?",
        choices=("dog", "cat"),
        answer="dog",
        audio="a.wav",
        extra={"task": task, "difficulty": "easy"},
    )


def said(n: int, text: str, **more) -> Prediction:
    raw = f"<think>x</think><answer>{text}</answer>"
    fields = {"finish_reason": "stop", **more}
    return Prediction(id=f"q{n}", model_output=text, model_output_raw=raw, **fields)


def test_wilson_interval_by_hand():
    share = Share.of(8, 10)
    assert share.accuracy == 0.8
    assert share.stderr == pytest.approx((0.8 * 0.2 / 10) ** 0.5)
    assert share.interval95 == pytest.approx((0.4902, 0.9433), abs=1e-4)


def test_missing_and_failed_count_as_wrong_and_are_named(tmp_path):
    questions = [question(n, "sound" if n < 3 else "music") for n in range(5)]
    predictions = {
        "q0": said(0, "dog"),
        "q1": said(1, "cat", finish_reason="length"),
        "q3": said(3, "dog"),
        "q4": Prediction(
            id="q4", model_output="", model_output_raw="", finish_reason="error", error="lost"
        ),
    }
    summary = summarise(
        questions, predictions, think=True, mmau_version="custom", policy_version=7, temperature=0.0
    )
    assert (summary.n, summary.accuracy) == (5, 0.4)
    assert (summary.missing, summary.failed, summary.truncated) == (1, 1, 1)
    assert summary.by_task["sound"].accuracy == pytest.approx(1 / 3)
    assert summary.by_task["music"].n == 2
    assert summary.format == pytest.approx(3 / 5)
    write_summary(tmp_path / "summary.json", summary)
    assert read_summary(tmp_path / "summary.json") == summary
