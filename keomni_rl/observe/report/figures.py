"""Plotly figures: curves over training, stacked times, shares with their intervals.

They are made without colours of ground and ink, which the page adds for light and dark. Long
curves are thinned: a point is the mean of a run of steps, around it a band from lowest to highest.
"""

import html
import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import plotly.graph_objects as go

from keomni_rl.evaluation.shares import Share

COLOURS = (
    *("#4a7fe0", "#d9822b", "#2a9d72", "#a24db5"),
    *("#7a8699", "#c94f5d", "#1f9bb5", "#8f7330"),
)
MARK_COLOUR = "#8b95a5"
LABEL_CHARS = 24
"""A longer label on an axis is broken."""
HEIGHT_PX = 300
MOST_POINTS = 400
"""Of one line; a longer one is thinned."""
MOST_LABELS = 6
"""Of marks in one figure, as a phone has room for."""


@dataclass(frozen=True)
class Drawn:
    """A figure with what it shows, for a page."""

    title: str
    figure: dict[str, Any]
    """As Plotly's JavaScript takes it."""


@dataclass(frozen=True)
class Series:
    """One line of a figure."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    intervals: Sequence[tuple[float, float]] = field(default=())
    """Of y, drawn as bars; none by default."""
    band: Sequence[tuple[float, float]] = field(default=())
    """Lowest and highest of what each y is the mean of; none where it is a value itself."""


@dataclass(frozen=True)
class Mark:
    """A place on the x axis that is worth a line."""

    x: float
    label: str
    text: str
    """Shown on pointing at it."""


def metric_series(metrics: Sequence[Mapping[str, Any]], metric: str, name: str) -> Series:
    """A metric over the steps that have it, thinned to `MOST_POINTS`."""
    points = [(m["step"], m[metric]) for m in metrics if metric in m]
    series = Series(name, [x for x, _ in points], [y for _, y in points])
    return series if len(points) <= MOST_POINTS else _thinned(series)


def steps_per_point(num_steps: int) -> int:
    """How many steps at most a point of a curve is the mean of."""
    return math.ceil(num_steps / MOST_POINTS)


def _thinned(series: Series) -> Series:
    xs = np.array_split(np.asarray(series.x), MOST_POINTS)
    ys = np.array_split(np.asarray(series.y, np.float64), MOST_POINTS)
    return Series(
        series.name,
        [int(x[len(x) // 2]) for x in xs],
        [_short(y.mean()) for y in ys],
        band=[(_short(y.min()), _short(y.max())) for y in ys],
    )


def _short(value: float) -> float:
    """To five digits, more than can be seen: long curves are most of a page's figures."""
    return float(f"{value:.5g}")


def numbered(series: Iterable[Series]) -> dict[int, Series]:
    """Lines with a colour each; those without points are left out and keep theirs."""
    return {number: one for number, one in enumerate(series) if one.x}


def line_figure(
    title: str,
    series: Mapping[int, Series],
    unit: str,
    x: str = "step",
    *,
    has_legend: bool = False,
    marks: Sequence[Mark] = (),
) -> Drawn:
    """Lines over steps or policy versions, with markers where there are intervals.

    Args:
        title: what it shows.
        series: number of its colour -> line.
        unit: of y.
        x: what the lines go over.
        has_legend: name a line that is the only one, too.
        marks: places to draw a line at.
    """
    figure = _figure(unit, x)
    figure.update_layout(showlegend=has_legend or len(series) > 1)
    for number, one in series.items():
        if one.band:
            _add_band(figure, one, COLOURS[number % len(COLOURS)])
        has_markers = bool(one.intervals) or len(one.x) == 1
        figure.add_scatter(
            x=one.x,
            y=one.y,
            error_y=_bars(one.y, one.intervals),
            name=one.name,
            legendgroup=one.name,
            mode="lines+markers" if has_markers else "lines",
            line={"color": COLOURS[number % len(COLOURS)], "width": 2},
        )
    _add_marks(figure, marks)
    return Drawn(title, _plain(figure))


def stacked_figure(
    title: str, series: Mapping[int, Series], unit: str, *, marks: Sequence[Mark] = ()
) -> Drawn:
    """Parts of a whole over steps; see `line_figure`."""
    figure = _figure(unit, "step")
    for number, one in series.items():
        figure.add_scatter(
            x=one.x,
            y=one.y,
            name=one.name,
            stackgroup="all",
            mode="lines" if len(one.x) > 1 else "markers",
            line={"color": COLOURS[number % len(COLOURS)], "width": 0.5},
        )
    figure.update_layout(legend={"traceorder": "normal"})
    _add_marks(figure, marks)
    return Drawn(title, _plain(figure))


def shares_figure(title: str, tables: Mapping[str, Mapping[str, Share]]) -> Drawn:
    """Shares with their intervals side by side, one row a value, from the first at the top.

    Args:
        title: what it shows.
        tables: name of a set of answers -> value -> its share, all with the same values.
    """
    values = list(next(iter(tables.values())))
    figure = _figure("", "percent right")
    for number, (name, shares) in enumerate(tables.items()):
        # A little above and below the row's middle, so that intervals do not hide each other.
        shift = 0.2 * (number - (len(tables) - 1) / 2)
        rows = [(row + shift, value, shares[value]) for row, value in enumerate(values)]
        figure.add_scatter(
            x=[percent(s) for _, _, s in rows],
            y=[place for place, _, _ in rows],
            error_x=_bars(
                [percent(s) for _, _, s in rows], [percent_interval(s) for _, _, s in rows]
            ),
            customdata=[s.n for _, _, s in rows],
            text=[label(value) for _, value, _ in rows],
            hovertemplate="%{text}: %{x:.1f}%, %{customdata} questions",
            name=label(name),
            mode="markers",
            marker={"color": COLOURS[number % len(COLOURS)], "size": 8},
        )
    figure.update_layout(
        height=90 + 34 * len(values),
        hovermode="closest",
        showlegend=len(tables) > 1,
        xaxis={"range": [-3, 103], "tickvals": list(range(0, 101, 20)), "zeroline": False},
        yaxis={
            "tickvals": list(range(len(values))),
            "ticktext": [label(value) for value in values],
            "range": [len(values) - 0.4, -0.6],
            "zeroline": False,
        },
    )
    return Drawn(title, _plain(figure))


def percent(share: Share) -> float:
    """Accuracy in percent, of questions with answers."""
    assert share.accuracy is not None
    return 100 * share.accuracy


def percent_interval(share: Share) -> tuple[float, float]:
    """Its interval in percent."""
    assert share.interval95 is not None
    low, high = share.interval95
    return 100 * low, 100 * high


def label(text: str) -> str:
    """A text as Plotly shows it: broken into short lines, markup in it left as text."""
    return "<br>".join(html.escape(line) for line in textwrap.wrap(text, LABEL_CHARS))


def _add_band(figure: go.Figure, series: Series, colour: str) -> None:
    """A translucent area around a line, there and back."""
    low, high = [low for low, _ in series.band], [high for _, high in series.band]
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    figure.add_scatter(
        x=[*series.x, *reversed(series.x)],
        y=[*high, *reversed(low)],
        fill="toself",
        fillcolor=f"rgba({red},{green},{blue},0.16)",
        line={"width": 0},
        mode="lines",
        legendgroup=series.name,
        showlegend=False,
        hoverinfo="skip",
    )


def _add_marks(figure: go.Figure, marks: Sequence[Mark]) -> None:
    """Dotted lines from the bottom to the top, where labels stand as far as there is room."""
    if not marks:
        return
    every = math.ceil(len(marks) / MOST_LABELS)
    # The last one has its label; from there every n-th.
    labels = [m.label if not (len(marks) - 1 - n) % every else "" for n, m in enumerate(marks)]
    for mark in marks:
        line = {"color": MARK_COLOUR, "width": 1, "dash": "dot"}
        figure.add_shape(
            type="line", x0=mark.x, x1=mark.x, yref="paper", y0=0, y1=1, line=line, opacity=0.6
        )
    figure.add_scatter(
        x=[mark.x for mark in marks],
        y=[1] * len(marks),
        yaxis="y2",
        cliponaxis=False,
        mode="markers+text",
        marker={"symbol": "triangle-down", "size": 8, "color": MARK_COLOUR},
        text=labels,
        textposition="top center",
        textfont={"size": 10},
        customdata=[mark.text for mark in marks],
        hovertemplate="%{customdata}<extra></extra>",
        showlegend=False,
    )
    figure.update_layout(
        yaxis2={"overlaying": "y", "range": [0, 1], "visible": False, "fixedrange": True},
        legend={"y": 1.09},
        margin={"t": 30},
    )


def _bars(middle: Sequence[float], intervals: Sequence[tuple[float, float]]) -> dict[str, Any]:
    return {
        "type": "data",
        "symmetric": False,
        "array": [high - m for m, (_, high) in zip(middle, intervals, strict=False)],
        "arrayminus": [m - low for m, (low, _) in zip(middle, intervals, strict=False)],
        "thickness": 1.2,
        "visible": bool(intervals),
    }


def _figure(unit: str, x: str) -> go.Figure:
    return go.Figure(
        layout={
            "template": "none",
            "height": HEIGHT_PX,
            "margin": {"l": 56, "r": 16, "t": 12, "b": 44},
            "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
            "xaxis": {"title": {"text": x}, "automargin": True},
            "yaxis": {"title": {"text": unit}, "automargin": True, "rangemode": "tozero"},
            "hovermode": "x unified",
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
        }
    )


def _plain(figure: go.Figure) -> dict[str, Any]:
    plain: dict[str, Any] = figure.to_plotly_json()
    return plain
