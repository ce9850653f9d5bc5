import json

import pytest

from keomni_rl.errors import DataError
from keomni_rl.evaluation.summary import Summary, read_summary, summarise, write_summary
from keomni_rl.types import Prediction

KNOWN = {
    "think": True,
    "think_max_words": 3,
    "mmau_version": "custom",
    "policy_version": 7,
    "temperature": 0.0,
}
LOST = Prediction(
    id="q4", model_output="", model_output_raw="", finish_reason="error", error="lost"
)


def test_missing_and_failed_count_as_wrong_and_are_counted(ask, say, tmp_path):
    questions = [ask(f"q{n}", "sound" if n < 3 else "music") for n in range(5)]
    predictions = {
        "q0": say("q0", "dog"),
        "q1": say("q1", "cat", finish_reason="length"),
        "q3": say("q3", "dog"),
        "q4": LOST,
    }
    summary = summarise(questions, predictions, **KNOWN, settings={"style": "think"})
    assert (summary.n, summary.accuracy) == (5, 0.4)
    assert (summary.missing, summary.failed, summary.truncated) == (1, 1, 1)
    assert summary.by_task["sound"].accuracy == pytest.approx(1 / 3)
    assert summary.by_task["music"].n == 2
    assert summary.format == pytest.approx(3 / 5)
    assert summary.settings == {"style": "think"}
    write_summary(tmp_path / "summary.json", summary)
    assert read_summary(tmp_path / "summary.json") == summary


def test_a_summary_that_cannot_be_written_leaves_nothing_behind(ask, say, tmp_path):
    summary = summarise([ask("a")], {"a": say("a", "dog")}, **KNOWN)
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("kept")
    for path in (tmp_path / "folder", tmp_path / "none" / "s.json", tmp_path / "file" / "s.json"):
        with pytest.raises(DataError, match=f"{path}: the summary cannot be written"):
            write_summary(path, summary)
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["file", "folder"]


def test_groups_come_in_the_official_order(ask, say):
    rows = [("speech", "medium", "B"), ("sound", "hard", "A"), ("sound", "medium", "")]
    questions = [
        ask(str(n), task, difficulty=difficulty, **{"sub-category": sub})
        for n, (task, difficulty, sub) in enumerate(rows)
    ]
    summary = summarise(questions, {"0": say("0", "dog")}, **KNOWN)
    assert list(summary.by_task) == ["sound", "speech"]
    assert list(summary.by_difficulty) == ["hard", "medium"]
    assert list(summary.by_sub_category) == ["B", "A"]
    assert summary.by_sub_category["B"].accuracy == 1


def test_other_scorers_stand_beside_the_verdict(ask, say):
    questions = [ask(i, choices=("a big dog", "cat")) for i in "abcd"]
    predictions = {
        "a": say("a", "a big dog"),
        "b": say("b", "A big dog."),  # official and alphanumeric
        "c": say("c", "big dog, a"),  # official
        "d": say("d", "a big dog", raw="a big dog"),  # official and strict: no tags
    }
    summary = summarise(questions, predictions, **KNOWN)
    assert summary.accuracy == 1
    assert {name: share.accuracy for name, share in summary.other_scorers.items()} == {
        "strict": 0.5,
        "alphanumeric": 0.5,
    }
    assert summary.no_answer == 0.25
    assert summary.format == 0.75


def test_thinks_are_measured_over_completions(ask, say):
    questions = [ask(i) for i in "abcd"]
    predictions = {
        "a": say("a", "dog", raw="<think>one two</think><answer>dog</answer>"),
        "b": say("b", "dog", raw="<think>one two three</think><answer>dog</answer>"),
        "c": say("c", "x", raw="<think>one two three four"),
        "d": LOST,
    }
    summary = summarise(questions, predictions, **KNOWN)
    assert summary.think.mean_words == 3
    assert summary.think.over_limit == pytest.approx(2 / 3)  # the limit of 3 is already over
    assert summary.no_answer == pytest.approx(1 / 3)
    assert summarise(questions, predictions, **KNOWN | {"think": False}).think is None
    without = summarise(questions, predictions, **KNOWN | {"think_max_words": 0})
    assert without.think.over_limit is None


def test_without_whole_completions_what_needs_them_is_unknown(ask, say):
    summary = summarise([ask("a")], {"a": say("a", "dog", raw="")}, **KNOWN)
    assert summary.accuracy == 1
    assert (summary.format, summary.no_answer, summary.think) == (None, None, None)
    assert list(summary.other_scorers) == ["strict"]


def test_a_prompt_without_tags_has_no_format(ask, say):
    summary = summarise(
        [ask("a")], {"a": say("a", "dog", raw="dog")}, **KNOWN | {"think": False}, has_tags=False
    )
    assert (summary.format, summary.no_answer) == (None, None)
    assert list(summary.other_scorers) == ["strict"]


def test_where_nothing_was_answered_all_is_wrong(ask):
    summary = summarise([ask("a")], {}, **KNOWN)
    assert (summary.accuracy, summary.format, summary.missing) == (0, 0, 1)
    assert (summary.no_answer, summary.think, summary.truncated) == (None, None, 0)


def test_questions_without_answers_are_counted_but_not_judged(ask, say, tmp_path):
    questions = [ask(i, answer=None) for i in "abc"]
    predictions = {
        "a": say("a", "dog", samples=("<answer>dog</answer>",) * 2),
        "b": say("b", "cat", raw="cat", finish_reason="length"),
    }
    summary = summarise(questions, predictions, **KNOWN)
    assert (summary.accuracy, summary.stderr, summary.interval95) == (None, None, None)
    assert summary.by_task["sound"].n == summary.n == 3
    assert summary.by_task["sound"].accuracy is None
    assert (summary.missing, summary.truncated, summary.no_answer) == (1, 1, 0.5)
    assert summary.format == pytest.approx(1 / 3)
    assert (summary.other_scorers, summary.samples) == ({}, None)
    assert [place.chosen for place in summary.position.positions] == [1, 1]
    write_summary(tmp_path / "summary.json", summary)
    assert read_summary(tmp_path / "summary.json") == summary


def test_repeated_choices_and_several_samples_are_told(ask, say):
    questions = [ask("a", choices=("joy", "fear", "joy")), ask("b")]
    samples = ("<answer>joy</answer>", "<answer>fear</answer>")
    summary = summarise(questions, {"a": say("a", "joy", samples=samples)}, **KNOWN)
    assert summary.duplicated_options == 1
    assert summary.accuracy == 0.5  # the first sample's
    assert summary.samples.mean.accuracy == 0.25


def test_predictions_for_other_questions_are_named(ask, say):
    predictions = {i: say(i, "dog") for i in ["a", *"stuvwxyz"]}
    with pytest.raises(DataError, match="8 of 9 predictions .*: s, t, u, v, w and 3 more;"):
        summarise([ask("a")], predictions, **KNOWN)


def test_answers_are_there_for_all_or_for_none(ask):
    with pytest.raises(DataError, match="1 of 2 questions have no answer: b;"):
        summarise([ask("a"), ask("b", answer=None)], {}, **KNOWN)


def test_a_summary_of_an_older_release_is_read(tmp_path):
    share = {"accuracy": 0.5, "stderr": 0.1, "interval95": [0.3, 0.7], "n": 20}
    old = {
        **share,
        "format": 1.0,
        "by_task": {"sound": share},
        "by_difficulty": {"easy": share},
        "missing": 0,
        "failed": 0,
        "truncated": 0,
        "mmau_version": "custom",
        "policy_version": 0,
        "temperature": 0.0,
    }
    (tmp_path / "summary.json").write_text(json.dumps(old))
    summary = read_summary(tmp_path / "summary.json")
    assert isinstance(summary, Summary)
    assert summary.by_task["sound"].n == 20
    (tmp_path / "summary.json").write_text(json.dumps(old | {"n": "many"}))
    with pytest.raises(DataError, match=r"no summary of an evaluation \(n: "):
        read_summary(tmp_path / "summary.json")
