"""What a person sees while a run goes on: a live line on a terminal, a plain line in a log."""

import time
from collections.abc import Mapping
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

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


class TrainProgress:
    """Progress of the loop; use as a context."""

    def __init__(self, max_steps: int, *, done: int = 0, console: Console | None = None) -> None:
        self._console = console or Console()
        self._max_steps = max_steps
        self._start = time.monotonic()
        self._done_at_start = done
        self._last_plain = 0.0
        self._bar = Progress(
            TextColumn("step"),
            MofNCompleteColumn(),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("train", total=max_steps, completed=done, figures="")

    def __enter__(self) -> "TrainProgress":
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def update(self, step: int, metrics: Mapping[str, float]) -> None:
        """Show the figures of a finished step."""
        figures = "  ".join(
            f"{word} {form.format(metrics[name])}" for word, name, form in SHOWN if name in metrics
        )
        self._bar.update(self._task, completed=step, figures=figures)
        now = time.monotonic()
        is_due = now - self._last_plain >= PLAIN_EVERY_S or step == self._max_steps
        if not self._console.is_terminal and is_due:
            self._last_plain = now
            left_s = (now - self._start) / (step - self._done_at_start) * (self._max_steps - step)
            self._console.print(
                f"step {step}/{self._max_steps}  {figures}  {left_s / 60:.1f} min left",
                highlight=False,
                soft_wrap=True,
            )


class CountProgress:
    """Progress of work that is counted, such as questions answered; use as a context."""

    def __init__(
        self, what: str, total: int, *, done: int = 0, console: Console | None = None
    ) -> None:
        self._console = console or Console()
        self._what, self._total, self._done_at_start = what, total, done
        self._start = self._last_plain = time.monotonic()
        self._bar = Progress(
            TextColumn(what),
            MofNCompleteColumn(),
            BarColumn(bar_width=30),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task(what, total=total, completed=done)

    def __enter__(self) -> "CountProgress":
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def update(self, done: int) -> None:
        """Show how many are done."""
        self._bar.update(self._task, completed=done)
        now = time.monotonic()
        is_due = now - self._last_plain >= PLAIN_EVERY_S or done == self._total
        if not self._console.is_terminal and is_due and done > self._done_at_start:
            self._last_plain = now
            rate = (done - self._done_at_start) / (now - self._start)
            left_s = (self._total - done) / rate
            self._console.print(
                f"{self._what} {done}/{self._total}  {rate:.1f}/s  {left_s / 60:.1f} min left",
                highlight=False,
                soft_wrap=True,
            )
