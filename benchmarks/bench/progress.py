"""What is shown while the benchmarks run: a bar where there is a terminal, and a line a visit."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bar

from bench.plan import measure

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rich.console import Console

    from bench.account import Account
    from bench.plan import Visit

#: The one number that is shown when a visit is over.
_SHOWN = {
    "publish": ("publish_one", "publish_many"),
    "work": ("drain_noop", "latency_p95", "inversions"),
    "flood": ("flood_p50", "flood_p99"),
    "growth": (),
}


class Progress:
    """Shows lines for people.

    Args:
        console: where.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left:"),
            # The visits of a group take alike long, those of different groups do not.
            TimeRemainingColumn(),
            console=console,
            speed_estimate_period=600,
            transient=True,
        )
        self._task: Any = None

    def say(self, line: str) -> None:
        """Show a line."""
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)

    @contextmanager
    def over(self, visits: Sequence[Visit]) -> Iterator[None]:
        """Show the bar while the visits are made."""
        self._task = self._bar.add_task("", total=len(visits))
        with self._bar:
            yield

    def begin(self, visit: Visit) -> None:
        """A visit begins."""
        doing = f"run {visit.run + 1}, {visit.group}: {visit.system.title}"
        self._bar.update(self._task, description=doing)

    def end(self, visit: Visit) -> None:
        """A visit is over."""
        del visit
        self._bar.advance(self._task)

    def show(self, visit: Visit, values: Mapping[str, float], account: Account) -> None:
        """Show what a visit brought."""
        keys = [key for key in _SHOWN[visit.group] if key in values]
        keys += [key for key in values if key.startswith("growth_")]
        numbers = [
            f"{key} {values[key]:,.{measure(key).digits}f} {measure(key).unit}" for key in keys
        ]
        exact = "exact" if account.is_exact else f"LOST {account.lost}, twice {account.duplicated}"
        where = f"run {visit.run + 1} {visit.group:<7} {visit.system.title}"
        self.say(f"{where}: {', '.join([*numbers, exact])}")
