import math

import pytest

from keomni_rl.evaluation.samples import majority, sample_figures

CHOICES = ("dog", "cat", "cow")


def tagged(*answers):
    return tuple(f"<answer>{answer}</answer>" for answer in answers)


def test_mean_and_majority_by_hand(ask, say):
    questions = [ask(i, choices=CHOICES) for i in "abcd"]
    found = {
        "a": say("a", "dog", samples=tagged("dog", "dog", "cat", "the dog")),  # 3/4, dog
        "b": say("b", "cat", samples=tagged("cat", "dog", "cat", "dog")),  # 2/4, cat: named first
        "c": say("c", "?", samples=tagged("?", "no idea", "dog", "dog or cat")),  # 1/4, dog
    }  # d was not answered: 0, wrong
    figures = sample_figures(questions, found)
    assert figures.num_samples == 4
    assert figures.mean.accuracy == pytest.approx((0.75 + 0.5 + 0.25) / 4)
    # deviations of 0.375: 0.375, 0.125, 0.125, 0.375
    assert figures.mean.stderr == pytest.approx(math.sqrt(2 * 0.375**2 + 2 * 0.125**2) / 4)
    assert (figures.mean.n, figures.majority.n) == (4, 4)
    assert figures.majority.accuracy == 0.5


def test_one_sample_a_question_has_no_figures_of_its_own(ask, say):
    assert sample_figures([ask("a")], {"a": say("a", "dog")}) is None
    assert sample_figures([ask("a")], {"a": say("a", "dog", samples=tagged("dog"))}) is None
    assert sample_figures([ask("a")], {}) is None


def test_a_question_with_one_answer_among_others_with_several_counts_by_it(ask, say):
    questions = [ask("a"), ask("b")]
    found = {"a": say("a", "dog", samples=tagged("cat", "cat")), "b": say("b", "dog")}
    figures = sample_figures(questions, found)
    assert (figures.mean.accuracy, figures.majority.accuracy) == (0.5, 0.5)


@pytest.mark.parametrize(
    ("answers", "choice"),
    [
        (["cat", "dog", "dog"], "dog"),
        (["cat", "dog", "a dog", "a cat"], "cat"),  # a tie: the one that was named first
        (["none", "nothing"], ""),
        (["none", "cow"], "cow"),
        ([], ""),
    ],
)
def test_a_vote_is_for_a_choice(answers, choice):
    assert majority(answers, CHOICES) == choice
