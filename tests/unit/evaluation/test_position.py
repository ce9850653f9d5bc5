import pytest

from keomni_rl.evaluation.position import position_bias


def test_positions_by_hand(ask, say):
    questions = [
        ask("a", choices=("dog", "cat")),
        ask("b", choices=("dog", "cat"), answer="cat"),
        ask("c", choices=("dog", "cat", "cow", "owl"), answer="owl "),  # a stray space
        ask("d", choices=("joy", "fear", "joy", "anger"), answer="joy"),  # listed twice
        ask("e", choices=("1", "2", "3", "4", "5")),
    ]
    found = {
        "a": say("a", "dog"),
        "b": say("b", "the dog"),
        "c": say("c", "owl"),
        "d": say("d", "no idea"),
    }
    bias = position_bias(questions, found, right={"a", "c"})
    first, second, third, fourth, fifth = bias.positions
    assert [place.listed for place in bias.positions] == [5, 5, 3, 3, 1]
    assert [place.chosen for place in bias.positions] == [2, 0, 0, 1, 0]
    assert [place.gold for place in bias.positions] == [3, 1, 0, 1, 0]
    assert (first.accuracy.accuracy, first.accuracy.n) == (pytest.approx(1 / 3), 3)
    assert second.accuracy.accuracy == 0
    assert third.accuracy is None
    assert fourth.accuracy.accuracy == 1
    assert fifth.accuracy is None
    assert bias.unmapped == 1
    assert bias.always_first == pytest.approx(3 / 5)
    assert bias.chance == pytest.approx((1 / 2 + 1 / 2 + 1 / 4 + 1 / 4 + 1 / 5) / 5)


def test_without_answers_only_what_was_chosen_is_known(ask, say):
    bias = position_bias([ask("a", answer=None)], {"a": say("a", "cat")}, right=None)
    assert [place.chosen for place in bias.positions] == [0, 1]
    assert [(place.gold, place.accuracy) for place in bias.positions] == [(None, None)] * 2
    assert bias.always_first is None
    assert bias.chance == 0.5
