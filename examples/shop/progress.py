"""How far the run is: bars on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Final, Protocol, Self

from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from rich.console import Console

#: Seconds between two lines where there is no terminal.
LINE_EVERY: Final = 2.0


class Progress(Protocol):
    """Shows numbers while its ``with`` block lasts."""

    def __enter__(self) -> Self:
        """Begin to show."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave what was shown last on the screen."""

    def show(self, *, submitted: int, ended: Mapping[str, int]) -> None:
        """Show how many flows were submitted, and how many jobs of each queue ended."""


def progress(console: Console, *, flows: int, jobs: Mapping[str, int]) -> Progress:
    """What fits the console.

    Args:
        console: where to show it.
        flows: how many flows there are to submit.
        jobs: how many jobs there are, by queue, in the order in which to show them.
    """
    make = LiveProgress if console.is_terminal else PlainProgress
    return make(console, flows=flows, jobs=jobs)


class LiveProgress:
    """A bar for the submission and one for each queue."""

    def __init__(self, console: Console, *, flows: int, jobs: Mapping[str, int]) -> None:
        self._bars = Bars(
            TextColumn("{task.description:<10}"),
            BarColumn(bar_width=50),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}"),
            TimeElapsedColumn(),
            console=console,
        )
        self._submitted = self._bars.add_task("submitted", total=flows, unit="flows")
        self._queues: dict[str, TaskID] = {
            queue: self._bars.add_task(queue, total=total, unit="jobs")
            for queue, total in jobs.items()
        }

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def show(self, *, submitted: int, ended: Mapping[str, int]) -> None:
        """Move the bars."""
        self._bars.update(self._submitted, completed=submitted)
        for queue, bar in self._queues.items():
            self._bars.update(bar, completed=ended.get(queue, 0))


class PlainProgress:
    """A line every :data:`LINE_EVERY` seconds, and one at the end."""

    def __init__(self, console: Console, *, flows: int, jobs: Mapping[str, int]) -> None:
        self._console = console
        self._flows = flows
        self._jobs = jobs
        self._began = time.monotonic()
        self._next = self._began + LINE_EVERY
        self._newest: tuple[int, Mapping[str, int]] = (0, Counter())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._write()

    def show(self, *, submitted: int, ended: Mapping[str, int]) -> None:
        """Write a line if it is time for one."""
        self._newest = (submitted, ended)
        if time.monotonic() >= self._next:
            self._next += LINE_EVERY
            self._write()

    def _write(self) -> None:
        submitted, ended = self._newest
        queues = ", ".join(
            f"{queue} {ended.get(queue, 0)}/{total}" for queue, total in self._jobs.items()
        )
        self._console.print(
            f"{time.monotonic() - self._began:5.1f} s  submitted {submitted}/{self._flows}, "
            f"ended: {queues}",
            soft_wrap=True,
            highlight=False,
        )
