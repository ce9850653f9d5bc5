"""A run on a terminal: how far it is, its curves, where its time goes, what happened last.

Fits the width and the height that it is given: curves and bars shorten, columns that do not fit
are left out, and of the events as many are shown as there is room for.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.progress_bar import ProgressBar
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from keomni_rl.observe.watch.snapshot import Evaluated, Snapshot, State
from keomni_rl.observe.watch.spark import sparkline
from keomni_rl.observe.watch.words import Told, Tone

Lines = list[list[Segment]]
STATE_STYLES: dict[State, str] = {
    "waiting": "yellow",
    "starting": "yellow",
    "going on": "green",
    "stale": "bold red",
    "ended": "bold green",
    "stopped": "yellow",
    "failed": "bold red",
}
TONES: dict[Tone, str] = {"plain": "", "good": "green", "warning": "yellow", "bad": "red"}
LEAST_EVENTS = 4
MOST_EVENTS = 14
"""Lines, a heading included."""
MAX_LETTERS = 240
"""Of one event."""
BAR_WIDTH = 24
LEAST_BAR = 4
"""A narrower bar tells nothing, and is left out."""
NARROW = 60
"""Columns below which only the most important ones of a table are shown."""


class Detail(NamedTuple):
    """How much of a snapshot is shown."""

    num_curves: int
    num_evaluations: int
    has_times: bool


DETAILS = (Detail(12, 5, True), Detail(6, 3, True), Detail(5, 2, False), Detail(2, 1, False))
"""The first that leaves room for `LEAST_EVENTS` lines of events is taken."""


@dataclass(frozen=True)
class Screen:
    """What a snapshot looks like."""

    shot: Snapshot
    height: int | None = None
    """Lines to stay within; None takes what is needed."""
    hint: str = ""
    """What a reader may do."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """All sections, an empty line between them."""
        options = options.update(height=None)
        foot = _lines(console, options, [Text(self.hint, "dim")]) if self.hint else []
        for detail in DETAILS:
            lines = _lines(console, options, _spaced(_sections(self.shot, options, detail)))
            room = MOST_EVENTS if self.height is None else self.height - len(lines) - len(foot) - 2
            if room >= min(LEAST_EVENTS, len(self.shot.events)):
                break
        told = _told(console, options, self.shot.events, room)
        blank: Lines = [[]]
        for section in (told, foot):
            lines += (blank if lines and section else []) + section
        for line in lines[: self.height]:
            yield from line
            yield Segment.line()


def _sections(
    shot: Snapshot, options: ConsoleOptions, detail: Detail
) -> list[Sequence[RenderableType]]:
    width, is_ascii = options.max_width, options.ascii_only
    times = _times(shot, width, is_ascii=is_ascii) if detail.has_times else []
    return [
        [*_head(shot, width), *_notes(shot)],
        _curves(shot, width, detail.num_curves, is_ascii=is_ascii),
        times,
        _evaluations(shot, width, detail.num_evaluations),
        _groups(shot),
    ]


def _lines(console: Console, options: ConsoleOptions, parts: Sequence[RenderableType]) -> Lines:
    return console.render_lines(Group(*parts), options, pad=False)


def _spaced(sections: Iterable[Sequence[RenderableType]]) -> list[RenderableType]:
    parts: list[RenderableType] = []
    for section in sections:
        if section and parts:
            parts.append(Text(""))
        parts += section
    return parts


def _head(shot: Snapshot, width: int) -> list[RenderableType]:
    state = Text(shot.state, style=STATE_STYLES[shot.state])
    if shot.quiet_s is not None and not shot.is_over:
        state.append(f", last written {duration(shot.quiet_s)} ago", style="dim")
    title = Text.assemble((shot.name, "bold"), "  ", state)
    if cell_len(title.plain) > width:
        title = Text.assemble((shot.name, "bold"), "\n", state)
    parts: list[RenderableType] = [title]
    if shot.state == "waiting":
        parts.append(Text(f"nothing has been written to {shot.place} yet; waiting for a run"))
    if shot.cause and shot.state in ("stopped", "failed"):
        parts.append(Text(" ".join(shot.cause.split()), style=STATE_STYLES[shot.state]))
    if how_far := _how_far(shot):
        done, total, words = how_far
        while len(words) > 1 and len("  ".join(words)) > width:
            words.pop()
        parts.append(Text("  ".join(words)))
        if total:
            parts.append(ProgressBar(total=total, completed=done, width=min(width, 72)))
    return parts


def _how_far(shot: Snapshot) -> tuple[int, int, list[str]] | None:
    """Done, of how much, and that in words; 0 where it is not known of how much."""
    words = []
    if shot.kind == "evaluation":
        if not shot.answering:
            return None
        done, total = shot.answering.answered, shot.answering.questions or 0
        words.append(f"{done:,} of {total:,} questions" if total else f"{done:,} questions")
    elif shot.max_steps is None:
        return (shot.step, 0, [f"step {shot.step:,}"]) if shot.step else None
    else:
        done, total = shot.step, shot.max_steps
        words.append(f"step {done:,} of {total:,}")
    if total:
        words.append(f"{done / total:.0%}")
    if shot.left_s is not None:
        words.append(f"{duration(shot.left_s)} left")
    if shot.step_s is not None:
        words.append(f"{shot.step_s:,.3g} s a step")
    return done, total, words


def duration(seconds: float) -> str:
    """Seconds in the two largest units.

    Example:
        duration(4000) == "1 h 6 min"
    """
    total = round(seconds)
    for unit, size, smaller, part in (
        ("d", 86400, "h", 3600),
        ("h", 3600, "min", 60),
        ("min", 60, "s", 1),
    ):
        if total >= size:
            rest = total % size // part
            return f"{total // size} {unit}" + (f" {rest} {smaller}" if rest else "")
    return f"{total} s"


def _notes(shot: Snapshot) -> list[RenderableType]:
    return [Text(f"note: {note}", style="yellow") for note in shot.notes]


def _curves(shot: Snapshot, width: int, most: int, *, is_ascii: bool) -> list[RenderableType]:
    curves = shot.curves[:most]
    if not curves:
        return []
    names = [("  " if curve.is_part else "") + curve.name for curve in curves]
    figures = [_figure(curve.values[-1]) for curve in curves]
    name_width = min(max(map(cell_len, names)), max(8, width // 3))
    figure_width = max(map(len, figures))
    room = width - name_width - figure_width - 4
    lines = []
    for curve, name, figure in zip(curves, names, figures, strict=True):
        label = Text(name, style="" if not curve.is_part else "dim")
        label.truncate(name_width, overflow="ellipsis", pad=True)
        spark = sparkline(curve.values, room, is_ascii=is_ascii) if room >= LEAST_BAR else ""
        lines.append(Text.assemble(label, "  ", figure.rjust(figure_width), "  ", (spark, "cyan")))
    return list(lines)


def _figure(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _times(shot: Snapshot, width: int, *, is_ascii: bool) -> list[RenderableType]:
    if not shot.role_s:
        return []
    longest = max(shot.role_s.values()) or 1.0
    table = Table.grid(padding=(0, 2))
    table.add_column(overflow="ellipsis", no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    room = min(BAR_WIDTH, width - max(map(len, shot.role_s)) - 14)
    block = "#" if is_ascii else chr(0x2588)
    for role, seconds in shot.role_s.items():
        bar = block * round(room * seconds / longest) if room >= LEAST_BAR else ""
        table.add_row(role, f"{seconds:,.2f} s", Text(bar, style="magenta"))
    return [Text("Time of the last step", style="bold"), table]


def _evaluations(shot: Snapshot, width: int, most: int) -> list[RenderableType]:
    parts: list[RenderableType] = []
    if shot.evaluations:
        parts += [_evaluation_table(shot.evaluations, width, most)]
    if (under_way := shot.answering) and shot.kind != "evaluation":
        of_all = f" of {under_way.questions:,}" if under_way.questions else ""
        parts.append(
            Text(f"policy {under_way.policy}: {under_way.answered:,}{of_all} questions answered")
        )
    return [Text("Evaluation, % right", style="bold"), *parts] if parts else []


def _evaluation_table(evaluations: Sequence[Evaluated], width: int, most: int) -> Table:
    """The first one and the last ones."""
    shown = list(evaluations)
    if len(shown) > most:
        shown = [*shown[: most > 1], *shown[len(shown) - max(1, most - 1) :]]
    is_wide = width >= NARROW
    tasks = list(shown[-1].by_task) if is_wide else []
    heads = ["policy", "all", "95%", *tasks, *(["format"] if is_wide else [])]
    table = Table(*heads, box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for column in table.columns:
        column.justify = "right"
        column.no_wrap = True
    for found in shown:
        low_high = found.interval95
        cells = [
            "-" if found.policy is None else f"{found.policy:,}",
            _percent(found.accuracy),
            f"[{100 * low_high[0]:.1f}, {100 * low_high[1]:.1f}]" if low_high else "-",
            *(_percent(of.accuracy if (of := found.by_task.get(t)) else None) for t in tasks),
            *([_percent(found.format)] if is_wide else []),
        ]
        table.add_row(*map(Text, cells), style="bold" if found is shown[-1] else "")
    return table


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}"


def _groups(shot: Snapshot) -> list[RenderableType]:
    groups = shot.groups
    if groups is None or not (groups.trained or groups.dropped):
        return []
    parts = [f"{groups.trained:,} trained on"]
    parts += [f"{number:,} dropped ({reason})" for reason, number in groups.dropped.items()]
    if groups.unfinished:
        parts.append(f"{groups.unfinished:,} unfinished")
    return [Text.assemble(("Groups  ", "bold"), ", ".join(parts))]


def _told(console: Console, options: ConsoleOptions, events: Sequence[Told], room: int) -> Lines:
    """As many of the newest as fit, under a heading."""
    lines: Lines = []
    for event in reversed(events):
        row = Table.grid(padding=(0, 2))
        words = Text(event.text, TONES[event.tone])
        words.truncate(MAX_LETTERS, overflow="ellipsis")
        row.add_row(Text(event.clock, "dim"), words)
        added = _lines(console, options, [row])
        if len(lines) + len(added) >= room:
            break
        lines = added + lines
    return _lines(console, options, [Text("What happened", "bold")]) + lines if lines else []
