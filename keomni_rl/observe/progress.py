"""What a person sees while work goes on: a bar on a terminal, plain lines in a log."""

import time
from collections.abc import Callable, Mapping
from math import inf
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    Task,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichProgress
from rich.text import Text

SHOWN = (
    ("reward", "reward/mean", "{:.2f}"),
    ("accuracy", "reward/accuracy_mean", "{:.2f}"),
    ("format", "reward/format_mean", "{:.2f}"),
    ("loss", "loss/token_nll_mean", "{:.3f}"),
    ("kl", "kl/ref_mean", "{:.4f}"),
    ("staleness", "staleness/mean", "{:.1f}"),
    ("tokens/s", "rollout/tokens_per_s", "{:,.0f}"),
)
PLAIN_EVERY_S = 5.0


class Progress:
    """How far work has come; use as a context.

    A log gets a line every `PLAIN_EVERY_S`, and one when all is done; none of shorter work.

    Args:
        what: is counted or done, such as ``step`` or ``reading``.
        total: how much there is to do.
        done: of it when this begins.
        as_percent: show the share that is done, where a count would tell nothing.
        console: to show it on.
        clock: seconds going by.
    """

    def __init__(
        self,
        what: str,
        total: float,
        *,
        done: int = 0,
        as_percent: bool = False,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console = console or Console()
        self._count = TaskProgressColumn() if as_percent else MofNCompleteColumn()
        self._figures = _Figures(has_rate=not as_percent)
        self._bar = RichProgress(
            TextColumn(what, markup=False),
            self._count,
            BarColumn(bar_width=20),
            self._figures,
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
            speed_estimate_period=inf,  # any period may be shorter than a step
            get_time=clock,
        )
        self._bar.add_task(what, total=total, completed=done, figures="")
        self._task = self._bar.tasks[0]
        self._begun = self._last_plain = clock()

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def advance(self, steps: float) -> None:
        """Show that so much more is done."""
        self.update(self._task.completed + steps)

    def update(self, done: float, figures: str = "") -> None:
        """Show how much is done.

        Args:
            done: in all.
            figures: to show beside it; the rate by default, if there is a count.
        """
        self._bar.update(self._task.id, completed=done, figures=figures)
        now = self._bar.get_time()
        since = self._begun if self._bar.finished else self._last_plain
        if now - since >= PLAIN_EVERY_S and not self._console.is_terminal:
            self._last_plain = now
            self._print_plain()

    def _print_plain(self) -> None:
        count, figures = (c.render(self._task).plain.strip() for c in (self._count, self._figures))
        parts = [f"{self._task.description} {count}", figures]
        if left_s := self._task.time_remaining:
            parts.append(f"{left_s / 60:.1f} min left")
        line = "  ".join(part for part in parts if part)
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)


class _Figures(ProgressColumn):
    """What the caller wants shown, or else the rate."""

    def __init__(self, *, has_rate: bool) -> None:
        super().__init__()
        self._has_rate = has_rate

    def render(self, task: Task) -> Text:
        rate = f"{task.speed:,.1f}/s" if self._has_rate and task.speed else ""
        return Text(task.fields["figures"] or rate)


def step_figures(metrics: Mapping[str, float]) -> str:
    """What of a step's metrics is shown beside its number."""
    return "  ".join(
        f"{word} {form.format(metrics[name])}" for word, name, form in SHOWN if name in metrics
    )
