"""The file of measured speeds, and the lines through measurements."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keomni_rl.errors import DataError
from keomni_rl.planning.rates import Rate, read_rates, write_rates


@given(fixed_s=st.floats(0, 10), per_s=st.floats(0.1, 1e5))
def test_a_line_is_found_again(fixed_s, per_s):
    true = Rate(fixed_s=fixed_s, per_s=per_s)
    amounts = [10.0, 50.0, 200.0, 1000.0]
    found = Rate.through(amounts, [true.seconds(amount) for amount in amounts])
    assert found.seconds(123) == pytest.approx(true.seconds(123), rel=0.01)
    assert found.spread < 0.01


def test_one_measurement_that_strays_does_not_move_the_line():
    amounts = [100.0, 100.0, 100.0, 400.0, 400.0, 400.0]
    found = Rate.through(amounts, [2.0, 2.1, 1.9, 5.0, 5.1, 50.0])
    assert found.seconds(100) == pytest.approx(2, rel=0.1)
    assert found.seconds(400) == pytest.approx(5.1, rel=0.1)
    assert 0.01 < found.spread < 0.2


def test_like_amounts_grow_from_nothing():
    found = Rate.through([100, 101, 100], [1.0, 1.0, 1.2])
    assert found.fixed_s == 0
    assert found.seconds(100) == pytest.approx(1.03, rel=0.05)


def test_a_file_is_read_as_it_was_written(tmp_path, rates):
    write_rates(tmp_path / "rates.json", rates)
    assert read_rates(tmp_path / "rates.json") == rates


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"learner": {"fixed_s": 1, "per_s": -5}}, "learner.per_s"),
        ({"learner": None}, "learner"),
        ({"speed": 1}, "speed"),
    ],
)
def test_another_form_is_refused_with_the_key(tmp_path, rates, change, told):
    file = tmp_path / "rates.json"
    file.write_text(json.dumps(rates.model_dump() | change))
    with pytest.raises(DataError, match=f"{told}.*wanted a file of rates"):
        read_rates(file)


@pytest.mark.parametrize("content", ["", "[1]", "rates: 1", "{"])
def test_what_is_no_such_file_is_refused(tmp_path, content):
    file = tmp_path / "rates.json"
    file.write_text(content)
    with pytest.raises(DataError, match="wanted a file of rates"):
        read_rates(file)
    with pytest.raises(DataError, match="cannot be read"):
        read_rates(tmp_path / "none.json")
