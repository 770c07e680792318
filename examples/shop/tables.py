"""The account as tables for a terminal of 100 columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.console import Group
from rich.text import Text

from laneway.console.numbers import format_count, format_wait
from laneway.console.tables import table
from laneway.workloads.board import percentile

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import RenderableType

    from shop.accounting import Account, Times

#: Problems that are listed before the rest is only counted.
SHOWN_PROBLEMS: Final = 20


def render(account: Account) -> RenderableType:
    """All tables of the account, and in the last lines what to think of it."""
    parts: list[RenderableType] = [
        _queues(account),
        _priorities(account),
        _placements(account),
    ]
    if account.failures:
        parts.append(_failures(account))
    if account.problems:
        parts.append(_problems(account.problems))
    spaced = [part for each in parts for part in (each, Text())]
    return Group(*spaced, _verdict(account))


def _queues(account: Account) -> RenderableType:
    return table(
        ["queue", "jobs", "succeeded", "failed", "retries", *_TIMES],
        (
            [
                times.queue,
                format_count(times.jobs),
                format_count(times.succeeded),
                _alarming(times.failed),
                format_count(times.retries),
                *_times(times),
            ]
            for times in account.queues
        ),
        numbers=["jobs", "succeeded", "failed", "retries", *_TIMES],
        title="Jobs by queue",
    )


def _priorities(account: Account) -> RenderableType:
    return table(
        ["queue", "priority", "jobs", *_TIMES],
        (
            [times.queue, str(times.priority), format_count(times.jobs), *_times(times)]
            for times in account.priorities
        ),
        numbers=["priority", "jobs", *_TIMES],
        title="By priority (9 is the most urgent)",
    )


def _placements(account: Account) -> RenderableType:
    return table(
        ["task", "queue", "priority", "jobs", "why there"],
        (
            [
                placement.task,
                placement.queue,
                str(placement.priority),
                format_count(placement.jobs),
                placement.why.removeprefix("route "),
            ]
            for placement in account.placements
        ),
        numbers=["priority", "jobs"],
        title="Where each task went, and why",
    )


def _failures(account: Account) -> RenderableType:
    return table(
        ["task", "error", "jobs", "planned", "for example"],
        (
            [
                failures.task,
                failures.error,
                _alarming(failures.jobs, calm=failures.planned),
                format_count(failures.planned),
                Text(failures.example, overflow="ellipsis", no_wrap=True),
            ]
            for failures in account.failures
        ),
        numbers=["jobs", "planned"],
        title="Failed for good",
    )


def _problems(problems: Iterable[str]) -> RenderableType:
    lines = list(problems)
    text = Text("Problems\n", style="bold red")
    for line in lines[:SHOWN_PROBLEMS]:
        text.append(f"  {line}\n", style="not bold")
    if len(lines) > SHOWN_PROBLEMS:
        text.append(f"  and {len(lines) - SHOWN_PROBLEMS} more\n", style="not bold")
    text.rstrip()
    return text


def _verdict(account: Account) -> RenderableType:
    ends = [
        f"{format_count(account.succeeded)} succeeded",
        f"{format_count(account.failed)} failed",
        f"{format_count(account.missing)} missing",
    ]
    others = [
        f"{format_count(account.retries)} retries",
        f"{format_count(account.duplicates)} ran twice",
        f"{format_count(account.skipped)} never started, as a job before them failed",
    ]
    well = not account.problems
    balance = f"{format_count(account.accounted)} of {format_count(account.submitted)}"
    return Text.assemble(
        (
            f"{balance} submitted jobs are accounted for",
            "bold green" if well else "bold red",
        ),
        f": {', '.join(ends)}\n({', '.join(others)}).",
        "" if well else f" {format_count(len(account.problems))} problems, see above.",
    )


_TIMES: Final = ("wait p50", "wait p95", "run p50", "run p95")


def _times(times: Times) -> list[str]:
    return [
        format_wait(percentile(values, percent))
        for values in (times.waits, times.runtimes)
        for percent in (50, 95)
    ]


def _alarming(count: int, *, calm: int | None = None) -> Text:
    alarm = calm is not None and count != calm
    return Text(format_count(count), style="bold red" if alarm else "")
