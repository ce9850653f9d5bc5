"""The Grafana dashboard draws what the code shows, and nothing else."""

import re
from itertools import combinations

import pytest

from tests.dashboard import BOARD, METRICS, PANELS, selectors

OF_RAY = {"NodeAddress"}
"""A label that Ray adds to every metric."""
TARGETS = [
    pytest.param(target["expr"], target["legendFormat"], id=f"{panel['title']} {target['refId']}")
    for panel in PANELS
    for target in panel["targets"]
]


def named(expression: str) -> set[str]:
    return set(re.findall(r"\bray_\w+", expression))


def test_every_metric_is_drawn_and_no_other():
    drawn = {name for target in TARGETS for name in named(target.values[0])}
    assert drawn == METRICS.keys()


@pytest.mark.parametrize(("expression", "legend"), TARGETS)
def test_an_expression_asks_for_labels_that_there_are(expression, legend):
    for part in expression.split(" / "):
        [selector] = selectors(part)
        [kept] = re.findall(r"\bby \(([\w, ]+)\)", part)
        assert selector.matchers["run"] == ("=~", "$run")
        labels = {"run", *METRICS[selector.name].tags} | OF_RAY
        assert {*kept.split(", "), *selector.matchers} <= labels
        assert set(re.findall(r"\{\{(\w+)\}\}", legend)) == set(kept.split(", "))
        if "rate(" in part:
            assert METRICS[selector.name].is_counter


def test_the_run_is_chosen_among_those_that_show_something():
    variables = {variable["name"]: variable for variable in BOARD["templating"]["list"]}
    query = variables["run"]["query"]["query"]
    assert re.fullmatch(r"label_values\(ray_\w+, run\)", query)
    assert named(query) <= METRICS.keys()
    assert variables["datasource"]["query"] == "prometheus"


def test_every_panel_explains_itself():
    for panel in PANELS:
        assert panel["title"]
        assert panel["description"].endswith(".")
        assert panel["fieldConfig"]["defaults"]["unit"]
        for part in (panel, *panel["targets"]):
            assert part["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


def test_panels_have_places_of_their_own():
    panels = BOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [panel["gridPos"] for panel in panels]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    for a, b in combinations(places, 2):
        assert not (
            a["x"] < b["x"] + b["w"]
            and b["x"] < a["x"] + a["w"]
            and a["y"] < b["y"] + b["h"]
            and b["y"] < a["y"] + a["h"]
        )
