"""What people see of a run."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from rich.table import Table

from chaos.order import HELD

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from chaos.run import Result

_ROWS = (
    ("accepted", "accepted"),
    ("refused for certain", "refused"),
    ("perhaps accepted", "maybe"),
    ("  of these never seen", "never_came"),
    ("succeeded", "succeeded"),
    ("dead letters", "dead"),
    ("  not made to fail", "dead_unplanned"),
    ("still queued", "queued"),
    ("LOST", "lost"),
    ("ran though refused", "ran_though_refused"),
    ("started again in the same attempt", "duplicated"),
    ("  jobs of these", "duplicated_jobs"),
    ("succeeded and a dead letter", "dead_and_succeeded"),
    ("dead letters beyond the first", "duplicated_letters"),
    ("started, and published by nobody", "strange"),
)


def account_table(results: Sequence[Result]) -> Table:
    """The accounts, a column a system."""
    [first, *_] = results
    table = Table(
        title=f"seed {first.settings.seed}, {len(first.done)} faults, RabbitMQ {first.version}, "
        f"{first.settings.nodes} node{'s' * (first.settings.nodes > 1)}"
    )
    table.add_column("jobs")
    for result in results:
        table.add_column(result.system.title, justify="right")
    for title, name in _ROWS:
        table.add_row(title, *(f"{getattr(result.account, name):,}" for result in results))
    table.add_row("came to rest", *("yes" if result.came_to_rest else "NO" for result in results))
    return table


def fault_table(result: Result) -> Table:
    """Each kind of fault: how often, and how soon work went on."""
    table = Table(
        title="seconds from the end of a fault until throughput was back; the longest standstill"
    )
    for column in ("fault", "times", "median", "longest", "not judged", "standstill"):
        table.add_column(column, justify="left" if column == "fault" else "right")
    for kind in sorted({done.kind for done in result.done}):
        all_of_it = [result.recoveries[done.number] for done in result.done if done.kind == kind]
        known = [seconds for seconds in all_of_it if seconds is not None]
        median = f"{statistics.median(known):.1f}" if known else ""
        longest = f"{max(known):.1f}" if known else ""
        still = max(result.standstills[done.number] for done in result.done if done.kind == kind)
        unknown = str(len(all_of_it) - len(known))
        table.add_row(kind, str(len(all_of_it)), median, longest, unknown, f"{still:.1f}")
    return table


def lines(result: Result) -> list[str]:
    """What the tables leave out."""
    said = [
        f"after a kill, {order.pool}: {order.late} of {order.after} jobs started before a more "
        f"urgent one (at most {HELD[order.pool]} may)"
        + ("" if order.is_judged else "; not judged, the kill came too late")
        for order in result.orders
    ]
    if not result.came_to_rest:
        said.append(f"did not come to rest: {_still(result.still)}")
    said += [f"lost: {job}" for job in result.account.lost_jobs]
    said += [f"trouble with a fault: {done}" for done in result.done if done.trouble]
    said += [
        f"publishing raised {words}: {count} times" for words, count in result.refusals.items()
    ]
    said += [
        f"a job that was to succeed failed with {error}: {count} times"
        for error, count in result.failures.items()
    ]
    said += list(result.problems)
    return said


def _still(waiting: Mapping[str, int] | None) -> str:
    if waiting is None:
        return "the broker did not say what waits"
    return ", ".join(f"{count} in {queue}" for queue, count in waiting.items()) or "nothing waits"
