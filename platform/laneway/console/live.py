"""The live view of a running platform, its plain form for logs, and its picture."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Protocol

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from laneway.console.numbers import (
    format_count,
    format_rate,
    format_uptime,
    format_wait,
    sparkline,
)
from laneway.console.svg import export_svg
from laneway.types import format_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from laneway.workloads import BoardView, QueueView

#: Columns of the picture, and the width for which the view is made.
FULL_WIDTH: Final = 100
#: Seconds between two plain lines.
PLAIN_SECONDS: Final = 5.0
#: Notes shown below the table, the newest ones.
_NOTES: Final = 3
_SPARK_WIDTH: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading:
    """What the view says of the platform as a whole."""

    #: The broker and its version, like ``RabbitMQ 4.3.6``.
    broker: str
    #: What its priorities mean, like ``ten strict priorities``.
    profile: str
    #: The service level of each queue, in seconds.
    service_levels: Mapping[str, float]
    #: Where errors are seen, if the platform has a server for them.
    errors: str = ""
    #: How to log in there; never in a picture.
    login: str = ""


class Display(Protocol):
    """Shows the board."""

    def update(self, view: BoardView) -> None:
        """Show these numbers now."""

    def note(self, text: str) -> None:
        """Show a line for people: a worker died, a queue was paused."""


@contextmanager
def display(heading: Heading, *, console: Console | None = None) -> Iterator[Display]:
    """The view that fits the console: live on a terminal, plain lines everywhere else."""
    console = console or Console()
    if not console.is_terminal:
        yield PlainDisplay(heading, console=console)
        return
    with Live(console=console, auto_refresh=False, screen=False, transient=False) as live:
        yield LiveDisplay(heading, live=live)


class LiveDisplay:
    """The view that a person watches."""

    def __init__(self, heading: Heading, *, live: Live) -> None:
        self._heading = heading
        self._live = live
        self._notes: list[str] = []

    def update(self, view: BoardView) -> None:
        """Draw the view again."""
        width = self._live.console.width
        self._live.update(render(view, self._heading, width=width, notes=self._notes))
        self._live.refresh()

    def note(self, text: str) -> None:
        """Keep the line below the table until newer ones push it out."""
        self._notes = [*self._notes, f"{time.strftime('%H:%M:%S')} {text}"][-_NOTES:]


class PlainDisplay:
    """One line an interval: for logs, and for pipes."""

    def __init__(
        self,
        heading: Heading,
        *,
        console: Console,
        interval: float = PLAIN_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console = console
        self._interval = interval
        self._clock = clock
        self._next = clock() + interval
        self._write(f"{heading.broker}, {heading.profile}")
        if heading.errors:
            self._write(errors_line(heading))

    def update(self, view: BoardView) -> None:
        """Write a line if it is time for one."""
        if self._clock() >= self._next:
            self._next = self._clock() + self._interval
            self._write(plain_line(view))

    def note(self, text: str) -> None:
        """Write the line at once."""
        self._write(text)

    def _write(self, line: str) -> None:
        # Whoever reads a pipe wants to see the line now, and as one line however long.
        self._console.print(line, soft_wrap=True, markup=False, highlight=False)
        self._console.file.flush()


def plain_line(view: BoardView) -> str:
    """All numbers in one line."""
    parts = [
        f"{line.queue} ready={format_count(line.ready)} running={line.running} "
        f"done={line.done} {format_rate(line.rate)}/s p95={format_wait(line.wait_p95)} "
        f"failed={line.failures}{' paused' if line.paused else ''}"
        for line in view.queues
    ]
    return " | ".join([f"{format_uptime(view.uptime)} {view.total.done} done", *parts])


def errors_line(heading: Heading) -> str:
    """Where errors are seen, and how to log in."""
    return f"errors: {heading.errors}" + (f"  {heading.login}" if heading.login else "")


def picture(view: BoardView, heading: Heading, *, title: str) -> str:
    """The view as an SVG document of :data:`FULL_WIDTH` columns."""
    heading = replace(heading, login="")
    return export_svg(render(view, heading, width=FULL_WIDTH), width=FULL_WIDTH, title=title)


def render(
    view: BoardView, heading: Heading, *, width: int, notes: list[str] | None = None
) -> RenderableType:
    """The whole view for a terminal of ``width`` columns; from 40 on nothing wraps."""
    parts: list[RenderableType] = [_header(view, heading, width), _queues(view, heading, width)]
    if view.failures:
        parts.append(_failures(view, width))
    if heading.errors:
        parts.append(Text(f"\n{errors_line(heading)}", style="bold", overflow="fold"))
    parts += [Text(note, style="yellow", no_wrap=True, overflow="ellipsis") for note in notes or ()]
    return Group(*parts)


def _header(view: BoardView, heading: Heading, width: int) -> Panel:
    grid = Table.grid(expand=True, padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True, ratio=1)
    grid.add_column(justify="right", no_wrap=True)
    left = Text(heading.broker, style="bold")
    if width >= 80:
        left.append(f"  {heading.profile}", style="dim")
    right = Text()
    right.append(format_count(view.total.done), style="bold green")
    right.append(" done  ")
    right.append(format_rate(view.total.rate), style="bold")
    right.append("/s  ")
    right.append(f"up {format_uptime(view.uptime)}", style="dim")
    grid.add_row(left, right)
    return Panel(grid, title="[bold]laneway[/]", title_align="left", box=box.ROUNDED, style="cyan")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Column:
    """One column: where its cells come from, and from which width on it is shown."""

    title: str
    cell: Callable[[QueueView, float | None], Text]
    width: int = 0
    left: bool = False


def _name(line: QueueView, _level: float | None) -> Text:
    name = Text(line.queue, style="bold")
    if line.paused:
        name.append(" paused", style="black on yellow")
    return name


def _level_cell(_line: QueueView, level: float | None) -> Text:
    return Text("" if level is None else format_duration(level), style="dim")


def _wait(seconds: float | None, level: float | None) -> Text:
    """Green within the service level, yellow up to twice of it, red beyond."""
    if seconds is None or level is None:
        return Text(format_wait(seconds))
    colour = "green" if seconds <= level else "yellow" if seconds <= 2 * level else "bold red"
    return Text(format_wait(seconds), style=colour)


def _some(number: int, style: str) -> Text:
    return Text(format_count(number), style=style if number else "dim")


def _spark(line: QueueView, _level: float | None) -> Text:
    return Text(sparkline(line.history, width=_SPARK_WIDTH), style="cyan")


def _workers(line: QueueView, _level: float | None) -> Text:
    return Text(str(line.workers), style="" if line.workers else "bold red")


_COLUMNS: Final = (
    _Column(title="queue", cell=_name, left=True),
    _Column(title="service\nlevel", cell=_level_cell, width=90),
    _Column(title="ready", cell=lambda line, _: Text(format_count(line.ready))),
    _Column(title="running", cell=lambda line, _: _some(line.running, "cyan")),
    _Column(title="done", cell=lambda line, _: Text(format_count(line.done)), width=60),
    _Column(title="done/s", cell=lambda line, _: Text(format_rate(line.rate)), width=48),
    _Column(title="", cell=_spark, width=100, left=True),
    _Column(title="wait\np50", cell=lambda line, level: _wait(line.wait_p50, level), width=76),
    _Column(title="wait\np95", cell=lambda line, level: _wait(line.wait_p95, level)),
    _Column(title="failed", cell=lambda line, _: _some(line.failures, "bold red"), width=54),
    _Column(title="retried", cell=lambda line, _: _some(line.retries, "yellow"), width=110),
    _Column(title="workers", cell=_workers, width=68),
)


def _queues(view: BoardView, heading: Heading, width: int) -> Table:
    columns = [column for column in _COLUMNS if column.width <= width]
    made = Table(box=None, expand=True, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        title = f"\n{column.title}" if "\n" not in column.title else column.title
        made.add_column(title, justify="left" if column.left else "right", no_wrap=True)
    for line in view.queues:
        level = heading.service_levels.get(line.queue)
        made.add_row(*(column.cell(line, level) for column in columns))
    return made


def _failures(view: BoardView, width: int) -> Group:
    made = Table.grid(expand=True, padding=(0, 2, 0, 0))
    made.add_column(no_wrap=True, style="dim", min_width=8)
    if width >= 60:
        made.add_column(no_wrap=True, max_width=30, min_width=10)
    made.add_column(no_wrap=True, overflow="ellipsis", style="red", ratio=1)
    for failure in view.failures:
        at = time.strftime("%H:%M:%S", time.localtime(failure.at))
        task = [Text(failure.task)] if width >= 60 else []
        made.add_row(at, *task, Text(failure.error))  # never markup: a job wrote it
    return Group(Text("\nlast failures", style="bold"), made)
