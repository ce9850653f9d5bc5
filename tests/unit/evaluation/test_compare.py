import pytest
from hypothesis import given
from hypothesis import strategies as st

from keomni_rl.errors import DataError
from keomni_rl.evaluation.compare import Comparison, check_same_questions, compare
from keomni_rl.evaluation.paired import Difference, paired_interval

COUNTS = st.integers(0, 400)


@pytest.mark.parametrize(
    ("table", "interval"),
    [
        # Newcombe 1998, Statistics in Medicine 17, 2635-2650: method 10
        ((36, 12, 2, 0), (0.0569, 0.3404)),
        # Altman et al. 2000, Statistics with Confidence, table 6.2
        ((14, 5, 0, 22), (0.011, 0.226)),
        # Fagerland, Lydersen and Laake 2014, Statistics in Medicine 33, 2850-2875
        ((1, 1, 7, 12), (-0.507, -0.026)),
    ],
)
def test_published_intervals(table, interval):
    # published to three digits or four
    assert paired_interval(*table) == pytest.approx(interval, abs=6e-4)


def test_an_interval_by_hand():
    # No correlation is left after the correction: ad - bc = 2*2 - 1*1 = 3 = n / 2, so phi = 0.
    # Both shares are 0.5 of 6: Wilson (0.5 +- 0.312388), as z^2 = 3.841459 and
    # half = 1.959964 * sqrt(0.25 / 6 + 3.841459 / 144) / (1 + 3.841459 / 6) = 0.312388.
    half = 2**0.5 * 0.312388
    assert paired_interval(2, 1, 1, 2) == pytest.approx((-half, half), abs=1e-5)


@pytest.mark.parametrize(
    ("table", "p_value"),
    [
        ((20, 12, 2, 16), 0.0129),  # Armitage and Berry 1994: 2 * sum of C(14, k), k <= 2, / 2^14
        ((1, 1, 7, 12), 18 / 256),  # 2 * (1 + 8) / 2^8
        ((14, 5, 0, 22), 2 / 32),
        ((10, 3, 3, 10), 1.0),
        ((10, 0, 0, 10), 1.0),
    ],
)
def test_mcnemars_exact_p(table, p_value):
    both, ours, baseline, neither = table
    difference = Difference.of(both=both, only_ours=ours, only_baseline=baseline, neither=neither)
    assert difference.p_value == pytest.approx(p_value, abs=5e-5)


@given(COUNTS, COUNTS, COUNTS, COUNTS)
def test_the_interval_holds_the_difference_and_turns_with_it(a, b, c, d):
    if a + b + c + d == 0:
        return
    low, high = paired_interval(a, b, c, d)
    assert -1 - 1e-9 <= low <= (b - c) / (a + b + c + d) <= high <= 1 + 1e-9
    assert paired_interval(a, c, b, d) == pytest.approx((-high, -low), abs=1e-9)


def test_files_are_compared_question_by_question(ask, say):
    questions = [ask(f"q{n}", "sound" if n < 4 else "music") for n in range(6)]
    ours = {q.id: say(q.id, "dog") for q in questions[:5]}  # the last is missing: wrong
    theirs = {q.id: say(q.id, "dog" if q.id in ("q0", "q5") else "cat") for q in questions}
    comparison = compare(questions, ours, theirs, names=("new", "old"))
    total = comparison.total
    assert (total.ours, total.baseline) == (pytest.approx(5 / 6), pytest.approx(2 / 6))
    assert (total.only_ours, total.only_baseline) == (4, 1)
    assert total.difference == pytest.approx(0.5)
    assert total.interval95 == paired_interval(1, 4, 1, 0)
    assert total.p_value == pytest.approx(12 / 32)
    assert list(comparison.by_task) == ["sound", "music"]
    assert comparison.by_task["sound"].difference == pytest.approx(0.75)
    assert comparison.by_task["music"].p_value == 1


def words(**counts) -> str:
    return Comparison(
        names=("new", "old"), mmau_version="custom", total=Difference.of(**counts), by_task={}
    ).in_words


def test_the_finding_is_a_sentence():
    assert words(both=600, only_ours=60, only_baseline=48, neither=292) == (
        "new scores 1.2 points above old [-0.8, 3.2], p = 0.29: no difference is shown by "
        "these 1000 questions"
    )
    assert words(both=600, only_ours=50, only_baseline=110, neither=240) == (
        "old scores 6.0 points above new [3.5, 8.5], p < 0.0001: these 1000 questions show a "
        "difference"
    )
    assert words(both=5, only_ours=2, only_baseline=2, neither=1).startswith(
        "new and old score the same ["
    )
    assert words(both=1, only_ours=1, only_baseline=7, neither=12) == (
        "old scores 28.6 points above new [2.6, 50.7], p = 0.07: these 21 questions leave it "
        "open, for interval and exact test disagree"
    )


def test_different_questions_are_refused_with_counts(ask):
    names = ("new.json", "old.json")
    ours = [ask("a"), ask("b"), ask("c")]
    check_same_questions(ours, ours[::-1], names)
    with pytest.raises(DataError) as caught:
        check_same_questions(ours, [ask("b"), ask("c", answer="cat"), ask("d"), ask("e")], names)
    assert "2 in both, 1 only in new.json, 2 only in old.json" in str(caught.value)
    assert "1 of the shared have another text, choices or answer: c;" in str(caught.value)
    with pytest.raises(DataError, match="1 in both, 0 only in new.json, 1 only in old.json;"):
        check_same_questions(ours[:1], ours[:2], names)


@pytest.mark.parametrize(
    ("only_ours", "only_baseline", "is_shown", "is_open"),
    [(60, 48, False, False), (50, 110, True, False), (0, 0, False, False)],
)
def test_a_difference_is_shown_where_interval_and_test_agree(
    only_ours, only_baseline, is_shown, is_open
):
    found = Difference.of(both=600, only_ours=only_ours, only_baseline=only_baseline, neither=292)
    assert (found.is_shown, found.is_open) == (is_shown, is_open)


def test_interval_and_test_may_disagree():
    found = Difference.of(both=1, only_ours=1, only_baseline=7, neither=12)  # p = 18 / 256
    assert (found.is_shown, found.is_open) == (False, True)
    assert "is_shown" not in found.model_dump()


def test_without_questions_there_is_nothing_to_compare():
    with pytest.raises(DataError, match="no questions to compare by; new and old hold none"):
        compare([], {}, {}, names=("new", "old"))


def test_without_answers_there_is_nothing_to_compare(ask):
    with pytest.raises(DataError, match="no answers"):
        compare([ask("a", answer=None)], {}, {})
