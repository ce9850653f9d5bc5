"""The MMAU table by task, before and after training, with intervals."""

from rich.table import Table

from keomni_rl.evaluation.summary import Share, Summary


def evaluation_table(before: Summary, after: Summary | None = None) -> Table:
    """A table of accuracy by task and in total, the change, and the share in the asked format."""
    how = "greedy" if before.temperature == 0 else f"temperature {before.temperature:g}"
    table = Table(title=f"Accuracy on {before.n} questions ({before.mmau_version}, {how})")
    table.add_column("task")
    table.add_column("n", justify="right")
    table.add_column(f"policy {before.policy_version}", justify="right")
    if after:
        table.add_column(f"policy {after.policy_version}", justify="right")
        table.add_column("change", justify="right")
    for task, share in before.by_task.items():
        table.add_row(task, str(share.n), *_cells(share, after.by_task[task] if after else None))
    table.add_section()
    table.add_row("all", str(before.n), *_cells(before, after), style="bold")
    formats = [f"{before.format:.3f}"]
    if after:
        formats += [f"{after.format:.3f}", f"{after.format - before.format:+.3f}"]
    table.add_row("format", str(before.n), *formats)
    return table


def _cells(before: Share, after: Share | None) -> list[str]:
    cells = [_share(before)]
    if after:
        cells += [_share(after), f"{after.accuracy - before.accuracy:+.3f}"]
    return cells


def _share(share: Share) -> str:
    low, high = share.interval95
    return f"{share.accuracy:.3f} [{low:.3f}, {high:.3f}]"
