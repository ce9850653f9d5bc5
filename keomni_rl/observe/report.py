"""``report.html``: one file with a run's curves, tables and sampled rollouts with their sound.

It needs no network: scripts, figures and audio are inside. What a model said is shown as text only.
"""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import plotly.graph_objects as go
import soundfile
import yaml
from plotly.offline import get_plotlyjs

from keomni_rl.data.audio import SAMPLE_RATE_HZ, read_samples
from keomni_rl.data.prompts import split_completion
from keomni_rl.errors import DataError
from keomni_rl.evaluation.summary import Summary, read_summary
from keomni_rl.observe.sinks import read_lines

MAX_GROUPS = 24
"""Groups shown, taken evenly over training."""
LONGEST_CLIP_S = 300.0

CURVES: tuple[tuple[str, str, Mapping[str, str]], ...] = (
    (
        "Reward",
        "mean over completions",
        {
            "reward/mean": "total",
            "reward/accuracy_mean": "accuracy",
            "reward/format_mean": "format",
            "reward/std": "spread within a group",
        },
    ),
    (
        "Completions",
        "tokens",
        {
            "rollout/completion_tokens_mean": "mean length",
            "rollout/completion_tokens_max": "longest",
        },
    ),
    ("KL to the reference", "nats a token", {"kl/ref_mean": "k3"}),
    (
        "Rollout against learner",
        "difference of log-probabilities",
        {"kl/rollout_policy_mean": "mean", "kl/rollout_policy_max": "largest"},
    ),
    (
        "Groups",
        "share",
        {"rollout/equal_reward_share": "equal rewards", "rollout/truncated_share": "cut off"},
    ),
    ("Staleness", "policy versions", {"staleness/mean": "mean", "staleness/max": "largest"}),
    ("Gradient", "norm", {"learner/grad_norm": "before clipping"}),
    ("Throughput", "generated tokens a second", {"rollout/tokens_per_s": "whole system"}),
)
TIMES = {
    "time/wait_s": "waiting for groups",
    "time/learner_s": "learner",
    "time/publish_s": "publishing weights",
    "time/rest_s": "checkpoints and logs",
}
COLOURS = ("#3b6fd4", "#d9822b", "#2a9d72", "#a24db5", "#7a8699")


@dataclass(frozen=True)
class RunRecord:
    """What a run folder holds, finished or not."""

    name: str
    config: dict[str, Any]
    metrics: list[dict[str, Any]]
    evaluations: list[Summary]
    rollouts: list[dict[str, Any]]


def read_run(run_dir: Path) -> RunRecord:
    """Read a run folder; whatever is not there yet is empty."""
    config_file = run_dir / "config.yaml"
    config = yaml.safe_load(config_file.read_text()) if config_file.exists() else {}
    summaries = sorted((run_dir / "evaluation").glob("step_*/summary.json"))
    rollouts = [
        {"step": int(file.stem.removeprefix("step_")), **group}
        for file in sorted((run_dir / "rollouts").glob("step_*.jsonl"))
        for group in read_lines(file)
    ]
    return RunRecord(
        name=run_dir.resolve().name,
        config=config,
        metrics=read_lines(run_dir / "metrics.jsonl"),
        evaluations=[read_summary(file) for file in summaries],
        rollouts=rollouts,
    )


def write_report(run_dir: Path) -> Path:
    """Write ``report.html`` into a run folder and return its path."""
    record = read_run(run_dir)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("keomni_rl.observe"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    page = environment.get_template("report.html.j2").render(
        record=record,
        first=record.evaluations[0] if record.evaluations else None,
        last=record.evaluations[-1] if len(record.evaluations) > 1 else None,
        settings=_settings(record.config),
        figures=_figures(record),
        groups=[_group(group) for group in spaced(record.rollouts, MAX_GROUPS)],
        plotly=get_plotlyjs(),
    )
    path = run_dir / "report.html"
    path.write_text(page, encoding="utf-8")
    return path


def spaced(items: Sequence[Any], most: int) -> list[Any]:
    """At most so many items, evenly over the sequence, the first and the last among them."""
    if len(items) <= most:
        return list(items)
    return [items[round(i * (len(items) - 1) / (most - 1))] for i in range(most)]


def _settings(config: Mapping[str, Any]) -> list[tuple[str, str]]:
    if not config:
        return []
    train, rollout, algo = config["train"], config["rollout"], config["algo"]
    learner, model = config["learner"], config["model"]
    return [
        ("model", f"{Path(model['path']).name}, {model['dtype']}"),
        ("steps", f"{train['max_steps']} of {train['groups_per_step']} groups"),
        ("group size", str(rollout["group_size"])),
        ("staleness", f"at most {train['max_staleness']}"),
        ("beta", str(algo["beta"])),
        ("learning rate", f"{learner['lr']:g}, {learner['lr_schedule']}"),
        ("ZeRO stage", str(learner["zero_stage"])),
        ("seed", str(train["seed"])),
    ]


def _figures(record: RunRecord) -> list[dict[str, str]]:
    figures = []
    if record.evaluations:
        figures.append(("Evaluation", _evaluation_figure(record.evaluations)))
    for title, unit, names in CURVES:
        present = {n: label for n, label in names.items() if any(n in m for m in record.metrics)}
        if present:
            figures.append((title, _curve_figure(record.metrics, present, unit)))
    if any("time/step_s" in m for m in record.metrics):
        figures.append(("Time of a step", _time_figure(record.metrics)))
    # "</" would end the script element that the figure is put into.
    return [{"title": t, "json": str(f.to_json()).replace("</", "<\\/")} for t, f in figures]


def _curve_figure(
    metrics: Sequence[Mapping[str, Any]], names: Mapping[str, str], unit: str
) -> go.Figure:
    figure = _figure(unit)
    for colour, (name, label) in zip(COLOURS, names.items(), strict=False):
        points = [(m["step"], m[name]) for m in metrics if name in m]
        figure.add_scatter(
            x=[p[0] for p in points],
            y=[p[1] for p in points],
            name=label,
            mode="lines" if len(points) > 1 else "markers",
            line={"color": colour, "width": 2},
        )
    return figure


def _evaluation_figure(evaluations: Sequence[Summary]) -> go.Figure:
    figure = _figure("share", x="policy version")
    versions = [e.policy_version for e in evaluations]
    figure.add_scatter(
        x=versions,
        y=[e.accuracy for e in evaluations],
        error_y={
            "type": "data",
            "symmetric": False,
            "array": [e.interval95[1] - e.accuracy for e in evaluations],
            "arrayminus": [e.accuracy - e.interval95[0] for e in evaluations],
            "thickness": 1.2,
        },
        name="accuracy, 95% interval",
        mode="lines+markers",
        line={"color": COLOURS[0], "width": 2},
    )
    figure.add_scatter(
        x=versions,
        y=[e.format for e in evaluations],
        name="format",
        mode="lines+markers",
        line={"color": COLOURS[2], "width": 2},
    )
    return figure


def _time_figure(metrics: Sequence[Mapping[str, Any]]) -> go.Figure:
    figure = _figure("seconds")
    for colour, (name, label) in zip(COLOURS, TIMES.items(), strict=False):
        points = [(m["step"], m[name]) for m in metrics if name in m]
        figure.add_scatter(
            x=[p[0] for p in points],
            y=[p[1] for p in points],
            name=label,
            stackgroup="time",
            mode="lines" if len(points) > 1 else "markers",
            line={"color": colour, "width": 0.5},
        )
    return figure


def _figure(unit: str, x: str = "step") -> go.Figure:
    return go.Figure(
        layout={
            "template": "none",
            "height": 300,
            "margin": {"l": 56, "r": 16, "t": 12, "b": 44},
            "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
            "xaxis": {"title": {"text": x}, "automargin": True},
            "yaxis": {"title": {"text": unit}, "automargin": True, "rangemode": "tozero"},
            "hovermode": "x unified",
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
        }
    )


def _group(group: Mapping[str, Any]) -> dict[str, Any]:
    shown = [
        {**completion, "think": parts[0], "answer": parts[1]}
        for completion in group["completions"]
        for parts in [split_completion(completion["text"])]
    ]
    sound, problem = _sound(group["audio"])
    return {**group, "completions": shown, "sound": sound, "problem": problem}


def _sound(path: str) -> tuple[str | None, str | None]:
    """A clip as a data URL, or why there is none."""
    try:
        samples = read_samples(path, max_audio_s=LONGEST_CLIP_S)
    except DataError as error:
        return None, str(error)
    encoded = io.BytesIO()
    soundfile.write(encoded, samples, SAMPLE_RATE_HZ, format="WAV", subtype="PCM_16")
    return "data:audio/wav;base64," + base64.b64encode(encoded.getvalue()).decode(), None
