"""The file of measured speeds, and the lines through measurements."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keomni_rl.errors import DataError
from keomni_rl.planning.rates import Rate, read_rates, write_rates


@given(fixed_s=st.floats(0, 10), per_s=st.floats(0.1, 1e6))
def test_a_line_is_found_again(fixed_s, per_s):
    true = Rate(fixed_s=fixed_s, per_s=per_s)
    amounts = [10.0, 50.0, 200.0, 1000.0]
    found = Rate.through(amounts, [true.seconds(amount) for amount in amounts])
    assert found.seconds(123) == pytest.approx(true.seconds(123), rel=1e-4)
    assert found.spread == pytest.approx(0, abs=1e-4)


def test_like_amounts_grow_from_nothing_and_tell_their_spread():
    found = Rate.through([100, 100], [1.0, 3.0])
    assert found.fixed_s == 0
    assert found.per_s == pytest.approx(100 / 1.2)  # errors are relative: 1.2 is nearest to both
    assert found.spread > 0.5


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
