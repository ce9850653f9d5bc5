"""The Grafana dashboard as tests read it, and what a run's node serves for it."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

from prometheus_client.metrics_core import Metric as Family
from prometheus_client.parser import text_string_to_metric_families

from keomni_rl.actors import cluster_metrics
from keomni_rl.actors.cluster_metrics import Metric

BOARD = json.loads((Path(__file__).parents[1] / "cluster/grafana/keomni_rl.json").read_text())
PANELS = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
METRICS = {f"ray_{m.name}": m for m in vars(cluster_metrics).values() if isinstance(m, Metric)}


@dataclass(frozen=True)
class Selector:
    """One metric of an expression with the labels that it is filtered by."""

    name: str
    matchers: dict[str, tuple[str, str]]
    """Label -> operator and value."""

    def takes(self, labels: dict[str, str]) -> bool:
        """Whether a series with these labels is among what is asked for, of any run."""
        does = {"=": str.__eq__, "!=": str.__ne__}
        return all(
            does[operator](labels[label], value)
            for label, (operator, value) in self.matchers.items()
            if value != "$run"
        )


def unanswered(page: "Page") -> list[str]:
    """Expressions of the dashboard that name a series which is not served."""
    expressions = [target["expr"] for panel in PANELS for target in panel["targets"]]
    return [
        expression
        for expression in expressions
        for selector in selectors(expression)
        if not any(selector.takes(labels) for labels, _ in page.series(METRICS[selector.name]))
    ]


def selectors(expression: str) -> Iterator[Selector]:
    for name, inside in re.findall(r"\b(ray_\w+)\{(.*?)\}", expression):
        matchers = re.findall(r'(\w+)(=~|!=|=)"([^"]*)"', inside)
        yield Selector(name, {label: (operator, value) for label, operator, value in matchers})


@dataclass(frozen=True)
class Page:
    """What a node serves to Prometheus at one time."""

    families: dict[str, Family]
    """By full name."""

    @classmethod
    def of(cls, port: int) -> "Page":
        with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as reply:
            families = text_string_to_metric_families(reply.read().decode())
            return cls({f.name + "_total" * (f.type == "counter"): f for f in families})

    def series(self, metric: Metric) -> list[tuple[dict[str, str], float]]:
        family = self.families.get(f"ray_{metric.name}")
        return [(s.labels, s.value) for s in family.samples] if family else []

    def sums(self, metric: Metric, by: str) -> dict[str, float]:
        """Values added up by a label."""
        found: dict[str, float] = {}
        for labels, value in self.series(metric):
            found[labels[by]] = found.get(labels[by], 0.0) + value
        return found
