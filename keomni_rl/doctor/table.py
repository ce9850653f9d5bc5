"""The report for people: a line for each finding, what to do below it."""

from itertools import groupby

from rich.console import Console
from rich.table import Table
from rich.text import Text

from keomni_rl.doctor.finding import Diagnosis, Finding, Status

STYLES = {Status.OK: "green", Status.WARNING: "yellow", Status.FAILURE: "bold red"}
WORDS = {Status.OK: "ok", Status.WARNING: "warning", Status.FAILURE: "FAILURE"}


def show(diagnosis: Diagnosis, console: Console) -> None:
    """Print it; words and not colours alone say what is wrong."""
    for area, findings in groupby(diagnosis.findings, key=lambda finding: finding.area):
        console.print(Text(area, style="bold"))
        console.print(_table(list(findings)))
    console.print(Text(diagnosis.summary, style=STYLES[diagnosis.status]))


def _table(findings: list[Finding]) -> Table:
    table = Table.grid(padding=(0, 1))
    table.add_column(width=9)
    table.add_column(width=21, overflow="fold")
    table.add_column(overflow="fold")
    for finding in findings:
        style = STYLES[finding.status]
        told = Text(finding.found)
        if finding.remedy:
            told.append(f"\n-> {finding.remedy}", style=style)
        table.add_row(Text(f"  {WORDS[finding.status]}", style=style), Text(finding.name), told)
    return table
