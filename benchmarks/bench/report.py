"""The report: Markdown made of the results alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from bench.summary import TIE, Spread, ratio
from bench.systems import ROWS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.plan import Measure
    from bench.results import Results

#: The systems that the others are compared with: key and heading.
REFERENCES: Final = (("celery-tuned-1", "vs Celery tuned"), ("dramatiq", "vs dramatiq"))
_ALIKE: Final = """\
- One machine, one private RabbitMQ, one run: the systems take turns, and every run begins with
  another one. A virtual host for each; quorum queues for all; JSON; no result backend.
- Each number is the median of all runs, with the smallest and the largest. Less than {tie:.0%} apart
  is a tie, and said so. Ratios above 1 are better, also where less is better.
- Every job appends its number to a file as its first act ({cost:.1f} µs here, the same for all); a
  drain counts starts a second between the first and the last tenth of them. Queues are filled with
  copies of each system's own message.
- Exact delivery: published, started, lost, duplicated are counted in every run. A start that is
  missing and not in the queue afterwards is lost; a second start, or a job that started and is in
  the queue again, is duplicated.
- Waits are from when a job was due on a fixed schedule (not from when a late publisher came round to
  it) until it starts.
"""
_UNLIKE: Final = """\
- dramatiq runs {threads} threads in each of its 2 processes and taskiq a thread pool, where Celery
  and Laneway run one job in each of 2 processes: that is how each is used. Where jobs wait (5 ms
  asleep), they have more slots.
- What a worker holds ahead differs: see the settings. It buys speed with inversions, which are
  measured too.
- Only Laneway and dramatiq are told when a message finds no queue; Celery drops it.
- "Publish many" is the best that each offers: Celery and dramatiq have nothing for it, so they get 8
  threads.
"""


def markdown(results: Results) -> str:
    """The whole report."""
    about = results.about
    lines = [
        "# Benchmarks",
        "",
        f"`{about['command']}` on {about['started']}, {about['minutes']:.1f} minutes, "
        f"{about['runs_done']} of {about['runs']} runs, RabbitMQ {about['rabbitmq']}.",
        "",
        *_verdict(results),
        "",
    ]
    for key, measure in results.measures.items():
        lines += [f"## {measure.title} ({measure.unit})", "", *_table(results, key, measure), ""]
    lines += ["## Exact delivery", "", *_deliveries(results), ""]
    lines += ["## What is alike", "", _alike(about)]
    lines += ["## What is not", "", _UNLIKE.format(threads=8)]
    lines += ["## Settings and versions", "", *_settings(results), ""]
    return "\n".join(lines)


def _alike(about: dict[str, Any]) -> str:
    return _ALIKE.format(tie=TIE, cost=about["ledger_us"])


def _verdict(results: Results) -> Iterator[str]:
    if results.lossy:
        titles = ", ".join(results.systems[key]["title"] for key in results.lossy)
        yield f"**RED: jobs were lost by {titles}.**"
    for failure in results.failures:
        yield f"**FAILED:** {failure.splitlines()[0]}"
    if not results.is_red:
        yield "No job was lost."
    if note := results.about.get("ended_early"):
        yield f"**Ended early:** {note}"
    for key, why in results.absent.items():
        yield f"\nNot measured: `{key}` ({why})"


def _table(results: Results, key: str, measure: Measure) -> Iterator[str]:
    """One measure: a block for each row, the rows apart."""
    references = [
        (heading, results.spread(system, key))
        for system, heading in REFERENCES
        if system in results.systems
    ]
    headings = ["system", "median", "range", *(heading for heading, _ in references)]
    headings += ["lost", "duplicated"]
    for row, title in ROWS.items():
        members = [
            (system, about, spread)
            for system, about in results.systems.items()
            if about["row"] == row and (spread := results.spread(system, key)) is not None
        ]
        if not members:
            continue
        yield f"*{title}*"
        yield ""
        yield _line(headings)
        yield _line(["---", *["---:"] * (len(headings) - 1)])
        for system, about, spread in members:
            cells = [about["title"], _number(spread.median, measure), _range(spread, measure)]
            cells += [_against(spread, reference, measure) for _, reference in references]
            account = results.account(system, measure.group)
            yield _line([*cells, _count(account.lost), str(account.duplicated)])
        yield ""


def _deliveries(results: Results) -> Iterator[str]:
    yield _line(["system", "published", "started", "left in the queue", "lost", "duplicated"])
    yield _line(["---", *["---:"] * 5])
    for key, about in results.systems.items():
        a = results.account(key)
        numbers = [f"{n:,}" for n in (a.published, a.started, a.left)]
        yield _line([about["title"], *numbers, _count(a.lost), str(a.duplicated)])


def _settings(results: Results) -> Iterator[str]:
    about = results.about
    machine = about["machine"]
    fsync = machine["fsync_ms"]
    yield (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gb']} GB, Linux "
        f"{machine['kernel']}; load before the start {machine['load_before']}. fsync of 4 KiB on the "
        f"broker's disk: median {fsync['median']} ms, longest {fsync['max']} ms."
    )
    yield ""
    yield _line(["system", "settings", "notes of its last run"])
    yield _line(["---", "---", "---"])
    for key, system in results.systems.items():
        notes = {
            name: note
            for visit in results.visits
            if visit["system"] == key
            for name, note in visit["notes"].items()
        }
        said = "; ".join(f"{name}: {note}" for name, note in notes.items())
        yield _line([system["title"], system["settings"], said])
    yield ""
    for whose, found in about["versions"].items():
        yield f"- {whose}: {', '.join(f'{name} {number}' for name, number in found.items())}"


def _against(spread: Spread, reference: Spread | None, measure: Measure) -> str:
    if reference is None:
        return "–"
    if reference is spread or reference == spread:
        return "1"
    found = ratio(spread.median, reference.median, higher_is_better=measure.higher_is_better)
    return "–" if found is None else str(found)


def _number(value: float, measure: Measure) -> str:
    return f"{value:,.{measure.digits}f}"


def _range(spread: Spread, measure: Measure) -> str:
    return f"{_number(spread.low, measure)}–{_number(spread.high, measure)}"


def _count(lost: int) -> str:
    return f"**{lost}**" if lost else "0"


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"
