import pytest

from keomni_rl.evaluation.shares import Share
from keomni_rl.observe.report.figures import (
    COLOURS,
    MOST_POINTS,
    Mark,
    Series,
    label,
    line_figure,
    metric_series,
    numbered,
    shares_figure,
    steps_per_point,
)


def test_a_metric_is_drawn_over_the_steps_that_have_it():
    metrics = [{"step": 1, "a": 3.0}, {"step": 2}, {"step": 3, "a": 5.0}]
    assert metric_series(metrics, "a", "x") == Series("x", [1, 3], [3.0, 5.0])


def test_a_long_curve_is_thinned_and_its_spikes_are_in_the_band():
    metrics = [{"step": step, "a": 50.0 if step == 7_777 else 1.0} for step in range(1, 10_001)]
    series = metric_series(metrics, "a", "x")
    assert len(series.x) == len(series.y) == len(series.band) == MOST_POINTS
    assert (series.x[0], series.x[-1]) == (13, 9_988)
    assert max(high for _, high in series.band) == 50.0
    assert max(series.y) == pytest.approx((24 + 50) / 25)
    assert steps_per_point(10_000) == 25
    band, line = line_figure("t", {0: series}, "u").figure["data"]
    assert (band["fill"], len(band["x"])) == ("toself", 2 * MOST_POINTS)
    assert list(line["y"]) == series.y


def test_parts_of_a_whole_are_thinned_at_the_same_steps():
    metrics = [{"step": step, "a": step, "b": -step} for step in range(1, 1_235)]
    a, b = (metric_series(metrics, name, name) for name in "ab")
    assert a.x == b.x
    assert [x + y for x, y in zip(a.y, b.y)] == [0.0] * MOST_POINTS


def test_of_many_marks_a_few_have_labels_the_last_among_them():
    marks = [Mark(n, f"v{n}", "") for n in range(14)]
    drawn = line_figure("t", {0: Series("a", [1], [2])}, "u", marks=marks).figure
    labels = drawn["data"][-1]["text"]
    assert [text for text in labels if text] == ["v1", "v4", "v7", "v10", "v13"]
    assert len(drawn["layout"]["shapes"]) == 14


def test_lines_keep_their_colours_where_one_is_missing():
    series = numbered([Series("a", [1], [2]), Series("b", [], []), Series("c", [1], [2])])
    figure = line_figure("t", series, "u").figure
    assert [line["name"] for line in figure["data"]] == ["a", "c"]
    assert [line["line"]["color"] for line in figure["data"]] == [COLOURS[0], COLOURS[2]]


def test_intervals_become_bars_from_the_middle():
    line = line_figure("t", {0: Series("a", [0], [50.0], [(40.0, 65.0)])}, "u").figure["data"][0]
    assert (line["error_y"]["array"], line["error_y"]["arrayminus"]) == ([15.0], [10.0])


def test_shares_stand_by_value_whatever_their_order():
    low, high = Share.of(1, 4), Share.of(3, 4)
    tables = {"first": {"a": low, "b": high}, "second": {"b": low, "a": high}}
    data = shares_figure("t", tables).figure["data"]
    assert [trace["x"] for trace in data] == [[25.0, 75.0], [75.0, 25.0]]
    assert data[0]["y"] == pytest.approx([-0.1, 0.9])
    assert data[1]["y"] == pytest.approx([0.1, 1.1])
    right_end = [m + up for m, up in zip(data[0]["x"], data[0]["error_x"]["array"])]
    assert right_end == pytest.approx([100 * low.interval95[1], 100 * high.interval95[1]])


def test_a_label_is_broken_and_stays_text():
    assert label("Phonological Sequence Decoding") == "Phonological Sequence<br>Decoding"
    assert label("<b>x</b>") == "&lt;b&gt;x&lt;/b&gt;"
