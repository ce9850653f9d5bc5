import pytest
from report_folders import thought, write_evaluation, write_questions

from keomni_rl.observe.report.folders import read_folder
from keomni_rl.observe.report.questions import (
    OUTCOMES,
    answered_questions,
    outcome_counts,
    paired_outcomes,
    question_rows,
)
from keomni_rl.observe.report.sounds import Sounds
from keomni_rl.types import Prediction


@pytest.fixture
def file(tmp_path):
    return write_questions(tmp_path / "questions", 8)


def wrong(question) -> str:
    return next(choice for choice in question.choices if choice != question.answer)


def every_kind(number, question):
    """Right, wrong, around its tags, untagged, cut off, failed, missing, right."""
    raw = {
        0: thought(question.answer),
        1: thought(wrong(question)),
        2: f"Well. {thought(question.answer)}",
        3: f"It is {question.answer}",
        7: thought(question.answer),
    }
    if number in raw:
        return raw[number]
    if number == 4:
        return Prediction(
            id=question.id,
            model_output="<think>or",
            model_output_raw="<think>or",
            finish_reason="length",
        )
    fields = {"model_output": "", "model_output_raw": "", "finish_reason": "error"}
    return Prediction(id=question.id, error="lost", **fields) if number == 5 else None


def test_outcomes_are_told_apart(tmp_path, file):
    run = read_folder(write_evaluation(tmp_path / "e", file, every_kind))
    answered = answered_questions([run])
    assert [a.outcomes for a in answered] == [
        ("right",),
        ("wrong",),
        ("right",),
        ("right", "no_tags"),
        ("wrong", "cut", "no_tags", "no_choice"),
        ("wrong", "failed"),
        ("wrong", "missing"),
        ("right",),
    ]
    assert [a.said[0]["verdict"] for a in answered[4:7]] == ["wrong", "failed", "missing"]
    assert outcome_counts((a.outcomes for a in answered), OUTCOMES) == [
        ("right", "right", 4),
        ("wrong", "wrong", 4),
        ("no_tags", "without answer tags", 2),
        ("no_choice", "naming no choice", 1),
        ("cut", "cut off", 1),
        ("failed", "failed", 1),
        ("missing", "without a prediction", 1),
    ]


def test_tags_that_were_not_asked_for_are_not_missed(tmp_path, file):
    folder = write_evaluation(
        tmp_path / "e", file, lambda _, question: question.answer, "prompt.style=direct"
    )
    assert {a.outcomes for a in answered_questions([read_folder(folder)])} == {("right",)}


def test_the_whole_completion_comes_only_where_it_says_more(tmp_path, file):
    run = read_folder(write_evaluation(tmp_path / "e", file, every_kind))
    said = [a.said[0] for a in answered_questions([run])]
    assert said[0]["raw"] is None
    assert said[0]["think_words"] == len(said[0]["think"].split())
    assert said[2]["raw"].startswith("Well. <think>")
    assert said[3]["raw"] is None
    assert said[3]["output"].startswith("It is ")


def test_samples_are_judged_one_by_one(tmp_path, file):
    def answer(_, question):
        samples = (thought(question.answer), thought(wrong(question)), question.answer)
        return Prediction(
            id=question.id,
            model_output=question.answer,
            model_output_raw=samples[0],
            finish_reason="stop",
            samples=samples,
        )

    words = ["evaluation.temperature=1", "evaluation.samples=3"]
    run = read_folder(write_evaluation(tmp_path / "e", file, answer, *words))
    samples = answered_questions([run])[0].said[0]["samples"]
    assert [sample["right"] for sample in samples] == [True, False, True]


def test_a_row_marks_right_and_chosen_and_says_why_it_is_silent(tmp_path, file):
    run = read_folder(write_evaluation(tmp_path / "e", file, every_kind))
    answered = answered_questions([run])
    path = run.clips["q-00000"]
    row = next(question_rows(answered, run.clips, Sounds(clips={path: "x"}), "all"))
    gold = row["choices"].index(answered[0].question.answer)
    assert (row["gold"], row["said"][0]["chosen"]) == ([gold], gold)
    assert (row["clip"], row["silent"]) == ("clip-0", None)
    unheard = next(question_rows(answered, run.clips, Sounds(problems={path: "broken"}), "all"))
    assert (unheard["clip"], unheard["silent"]) == (None, "broken")
    left_out = next(question_rows(answered, run.clips, Sounds(), "wrong"))
    assert left_out["silent"] == "left out by --audio wrong"
    unknown = next(question_rows(answered, {}, Sounds(), "all"))
    assert unknown["silent"] == "its file is not known"


def test_two_evaluations_are_paired(tmp_path, file):
    def other(number, question):
        return thought(question.answer if number in (0, 1, 5) else wrong(question))

    runs = [
        read_folder(write_evaluation(tmp_path / name, file, answer))
        for name, answer in (("a", every_kind), ("b", other))
    ]
    answered = answered_questions(runs)
    assert [a.outcomes[0] for a in answered] == [
        *("both", "only_second", "only_first", "only_first"),
        *("neither", "only_second", "neither", "only_first"),
    ]
    assert "apart" not in answered[0].outcomes
    assert "apart" in answered[1].outcomes
    assert "unanswered" in answered[5].outcomes
    assert [a.is_wrong for a in answered] == [False] + [True] * 7
    counts = outcome_counts((a.outcomes for a in answered), paired_outcomes(("a", "b")))
    assert ("only_first", "a right, b wrong", 3) in counts
