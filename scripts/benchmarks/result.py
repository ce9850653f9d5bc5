"""What a benchmark says: a ratio with its goal, and everything that it was computed from."""

import statistics
from typing import Any


def result(
    name: str, baseline: str, ratio: float, goal: float, details: str, **more: Any
) -> dict[str, Any]:
    """A ratio that is good when it is at least the goal.

    Args:
        name: of the benchmark.
        baseline: what ours is measured against.
        ratio: ours over the baseline.
        goal: for the ratio.
        details: a line for people.
        more: kept in the JSON.
    """
    return {
        "name": name,
        "baseline": baseline,
        "ratio": ratio,
        "goal": goal,
        "details": details,
        **more,
    }


def compared(
    name: str, baseline: str, unit: str, goal: float, ours: list[float], theirs: list[float]
) -> dict[str, Any]:
    """Rates of both sides as one result: medians, and the spread, (max - min) / median."""

    def spread(values: list[float]) -> float:
        return (max(values) - min(values)) / statistics.median(values)

    mine, other = statistics.median(ours), statistics.median(theirs)
    details = (
        f"ours {mine:.1f}, baseline {other:.1f} {unit}, spread {spread(ours):.0%} and "
        f"{spread(theirs):.0%}"
    )
    rates = {"unit": unit, "ours": ours, "baseline_rates": theirs}
    return result(name, baseline, mine / other, goal, details, **rates)
