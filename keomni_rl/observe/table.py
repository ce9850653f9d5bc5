"""The MMAU table by task, before and after training, with intervals."""

from rich.table import Table

from keomni_rl.evaluation.shares import Share
from keomni_rl.evaluation.summary import Summary

NONE = "-"
"""Where there is no figure."""


def evaluation_table(before: Summary, after: Summary | None = None) -> Table:
    """A table of accuracy by task and in total, the change, and the share in the asked format."""
    how = ", ".join([before.mmau_version, *_sampling(before)])
    table = Table(title=f"Accuracy on {before.n} questions ({how})")
    table.add_column("task")
    table.add_column("n", justify="right")
    table.add_column(_policy(before), justify="right")
    if after:
        table.add_column(_policy(after), justify="right")
        table.add_column("change", justify="right")
    for task, share in before.by_task.items():
        table.add_row(task, str(share.n), *_cells(share, after and after.by_task[task]))
    table.add_section()
    table.add_row("all", str(before.n), *_cells(before, after), style="bold")
    formats = [_figure(before.format)]
    if after:
        formats += [_figure(after.format), _change(before.format, after.format)]
    table.add_row("format", str(before.n), *formats)
    return table


def _sampling(summary: Summary) -> list[str]:
    """Nothing where it is not known."""
    if summary.temperature is None:
        return []
    return ["greedy" if summary.temperature == 0 else f"temperature {summary.temperature:g}"]


def _policy(summary: Summary) -> str:
    version = summary.policy_version
    return "accuracy" if version is None else f"policy {version}"


def _cells(before: Share, after: Share | None) -> list[str]:
    cells = [_share(before)]
    if after:
        cells += [_share(after), _change(before.accuracy, after.accuracy)]
    return cells


def _share(share: Share) -> str:
    if share.interval95 is None:
        return NONE
    low, high = share.interval95
    return f"{_figure(share.accuracy)} [{low:.3f}, {high:.3f}]"


def _change(before: float | None, after: float | None) -> str:
    return NONE if before is None or after is None else f"{after - before:+.3f}"


def _figure(value: float | None) -> str:
    return NONE if value is None else f"{value:.3f}"
