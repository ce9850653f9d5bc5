"""A score as tables for the terminal: the verdict, what stands beside it, a comparison."""

from rich.markup import escape
from rich.table import Table

from keomni_rl.evaluation.compare import Comparison, points_text
from keomni_rl.evaluation.paired import Difference
from keomni_rl.evaluation.position import PositionBias
from keomni_rl.evaluation.shares import Share
from keomni_rl.evaluation.summary import Summary
from keomni_rl.observe.beside import Value, beside_verdict
from keomni_rl.observe.table import NONE


def score_tables(summary: Summary) -> list[Table]:
    """All that a summary holds, in percent."""
    tables = [verdict_table(summary), beside_table(summary)]
    if summary.position:
        tables.append(position_table(summary.position, summary.n))
    return tables


def verdict_table(summary: Summary) -> Table:
    """Accuracy by task, difficulty and sub-category, and in total, with its standard error."""
    title = f"MMAU {summary.mmau_version}, {summary.n} questions: {_judged(summary)}"
    table = Table(title=title, min_width=len(title))
    table.add_column("", no_wrap=True)
    for name in ("n", "accuracy", "s.e.", "95% interval"):
        table.add_column(name, justify="right", no_wrap=True)
    for group in (summary.by_task, summary.by_difficulty, summary.by_sub_category):
        for value, share in group.items():
            table.add_row(escape(value), str(share.n), *_share_with_error(share))
        table.add_section()
    table.add_row("all", str(summary.n), *_share_with_error(summary), style="bold")
    return table


def beside_table(summary: Summary) -> Table:
    """The other scorers, and what an accuracy does not say."""
    table = Table(title="Beside the verdict, percent and counts")
    table.add_column("", no_wrap=True)
    table.add_column("", justify="right", no_wrap=True)
    for words, value in beside_verdict(summary):
        table.add_row(words, _value(value))
    return table


def position_table(bias: PositionBias, n: int) -> Table:
    """How answers spread over the positions of the choices."""
    baselines = f"chance {_percent(bias.chance)}"
    if bias.always_first is not None:
        baselines = f"always the first {_percent(bias.always_first)}, {baselines}"
    table = Table(title="Position of the choices, percent of questions", caption=baselines)
    for name in ("position", "chosen", "right choice", "accuracy there", "95% interval"):
        table.add_column(name, justify="right", no_wrap=True)
    used = [n for n, place in enumerate(bias.positions, start=1) if place.chosen or place.gold]
    for number, place in enumerate(bias.positions[: max(used, default=0)], start=1):
        gold = NONE if place.gold is None else _percent(place.gold / n)
        share = _share(place.accuracy) if place.accuracy else (NONE, NONE)
        table.add_row(str(number), _percent(place.chosen / n), gold, *share)
    table.add_row("none of them", _percent(bias.unmapped / n), NONE, NONE, NONE)
    return table


def comparison_table(comparison: Comparison) -> Table:
    """The paired difference by task and in total."""
    ours, baseline = map(escape, comparison.names)
    table = Table(
        title=f"{ours} (ours) against {baseline} (baseline), MMAU {comparison.mmau_version}: "
        "official verdict, percent",
        caption="only: questions that one alone answered right. Newcombe's paired interval (1998, "
        "method 10); McNemar's exact p, not adjusted for looking at each task",
    )
    table.add_column("", no_wrap=True)
    for name in ("n", "ours", "baseline", "difference, 95%", "only", "p"):
        table.add_column(name, justify="right", no_wrap=True)
    for task, difference in comparison.by_task.items():
        table.add_row(task, *_difference(difference))
    table.add_section()
    table.add_row("all", *_difference(comparison.total), style="bold")
    return table


def _difference(difference: Difference) -> tuple[str, ...]:
    low, high = difference.interval95
    return (
        str(difference.n),
        _percent(difference.ours),
        _percent(difference.baseline),
        f"{points_text(difference.difference)} [{points_text(low)}, {points_text(high)}]",
        f"{difference.only_ours} : {difference.only_baseline}",
        f"{difference.p_value:.4f}",
    )


def _judged(summary: Summary) -> str:
    return (
        "no answers, predictions only" if summary.accuracy is None else "official verdict, percent"
    )


def _value(value: Value) -> str:
    if isinstance(value, Share):
        return " ".join(_share(value))
    return _percent(value) if isinstance(value, float) else value


def _share_with_error(share: Share) -> tuple[str, str, str]:
    accuracy, interval = _share(share)
    return accuracy, NONE if share.stderr is None else _percent(share.stderr), interval


def _share(share: Share) -> tuple[str, str]:
    if share.accuracy is None or share.interval95 is None:
        return NONE, NONE
    low, high = share.interval95
    return _percent(share.accuracy), f"[{100 * low:.1f}, {100 * high:.1f}]"


def _percent(share: float) -> str:
    return f"{100 * share:.2f}"
