"""The report: Markdown made of the results alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from bench.summary import TIE, Spread, ratio
from bench.systems import ROWS, THREADS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.plan import Measure
    from bench.results import Results

#: The systems that the others are compared with: key and heading.
REFERENCES: Final = (
    ("celery-tuned-1", "Celery tuned, 1"),
    ("celery-tuned-16", "Celery tuned, 16"),
    ("dramatiq", "dramatiq"),
    ("raw", "raw py-amqp"),
)
_ALIKE: Final = """\
- One machine, one private RabbitMQ, one run: the systems take turns, and every run begins with
  another one. A virtual host for each; quorum queues for all; JSON; no result backend. Nothing is
  pinned to a processor, and no delay is added to the network.
- Each number is the median of all runs, with the smallest and the largest in brackets. Less than
  {tie:.0%} apart is a tie. Ratios above 1 are better, also where less is better.
- Every job appends its number to a file as its first act ({cost:.1f} µs here, the same for all); a
  drain counts starts a second between the first and the last tenth of them. Queues are filled with
  copies of each system's own message.
- Exact delivery is counted in every run. A published job that neither started nor waits in its
  queue afterwards is lost; a second start, or a job that started and waits again, is duplicated.
- Waits are from when a job was due on a fixed schedule (not from when a late publisher came round
  to it) until it starts.
"""
_UNLIKE: Final = """\
- dramatiq runs {threads} threads in each of its 2 processes and taskiq a pool of threads, where
  Celery and Laneway run one job in each of 2 processes: that is how each is used. Where jobs wait
  (5 ms asleep), they have more slots.
- What a worker holds ahead differs: see the settings. It buys speed with inversions, which are
  measured too.
- Laneway, dramatiq and taskiq are told when a message finds no queue; Celery is not.
- "Publish many" is the best that each offers: Celery and dramatiq have nothing for it, so they get
  8 threads.
"""


def markdown(results: Results) -> str:
    """The whole report."""
    about = results.about
    head = (
        f"`{about['command']}` on {about['started']}, {about['minutes']:.1f} minutes, "
        f"{about['runs_done']} of {about['runs']} runs, RabbitMQ {about['rabbitmq']}."
    )
    lines = ["# Benchmarks", "", head, "", *_verdict(results), ""]
    lines += [*_in_short(results), ""]
    for keys in topics(list(results.measures)):
        measure = results.measures[keys[0]]
        title = measure.title.partition(", p50")[0]
        lines += [f"## {title} ({measure.unit})", "", *_table(results, keys), ""]
    lines += ["## Exact delivery", "", *_deliveries(results), ""]
    lines += ["## What is alike", "", _ALIKE.format(tie=TIE, cost=about["ledger_us"])]
    lines += ["## What is not", "", _UNLIKE.format(threads=THREADS)]
    lines += ["## Settings and versions", "", *_settings(results), ""]
    return "\n".join(lines)


def topics(keys: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """What stands in one table: the percentiles of a wait together, everything else alone."""
    seen: set[str] = set()
    for key in keys:
        if key in seen:
            continue
        stem = key.removesuffix("_p50")
        together = tuple(k for k in keys if k == key or (stem != key and k.startswith(f"{stem}_p")))
        seen.update(together)
        yield together


def _compared(keys: Sequence[str]) -> str:
    """Of several percentiles the ratios are those of the 95th: the one that queues promise."""
    return next((key for key in keys if key.endswith("_p95")), keys[0])


def _verdict(results: Results) -> Iterator[str]:
    if results.lossy:
        titles = "; ".join(results.systems[key]["title"] for key in results.lossy)
        yield f"**RED: jobs were lost: {titles}.**"
    for failure in results.failures:
        yield f"**FAILED:** {failure.splitlines()[0]}"
    if not results.is_red:
        yield "No job was lost."
    if note := results.about.get("ended_early"):
        yield f"**Ended early:** {note}"
    if results.about["mode"] == "quick":
        yield "\nA quick run: it shows that everything works, not how fast it is."
    for key, why in results.absent.items():
        yield f"\nNot measured: `{key}` ({why})"


def _in_short(results: Results) -> Iterator[str]:
    """Laneway against each reference, a line a measure; nothing if either is not there."""
    own = [key for key in results.systems if key.startswith("laneway-")]
    there = [(key, title) for key, title in REFERENCES if key in results.systems and key != "raw"]
    if not own or not there:
        return
    yield "## In short"
    yield ""
    headings = [f"{key} vs {title}" for key in own for _, title in there]
    yield _line(["better by", *headings])
    yield _line(["---", *["---:"] * len(headings)])
    for keys in topics(list(results.measures)):
        key = _compared(keys)
        measure = results.measures[key]
        cells = [
            _against(results.spread(system, key), results.spread(reference, key), measure)
            for system in own
            for reference, _ in there
        ]
        yield _line([f"{measure.title} ({measure.unit})", *cells])


def _table(results: Results, keys: Sequence[str]) -> Iterator[str]:
    """One topic: a block for each row, the rows apart."""
    compared = _compared(keys)
    label = "" if len(keys) == 1 else f"{_label(compared)} "
    references = [ref for ref in REFERENCES if results.spread(ref[0], compared) is not None]
    headings = ["system", *(_label(key) for key in keys)]
    headings += [f"{label}vs {title}" for _, title in references] + ["lost", "duplicated"]
    measure = results.measures[compared]
    for row, title in ROWS.items():
        members = {
            system: about
            for system, about in results.systems.items()
            if about["row"] == row and results.spread(system, compared) is not None
        }
        if not members:
            continue
        yield f"*{title}*"
        yield ""
        yield _line(headings)
        yield _line(["---", *["---:"] * (len(headings) - 1)])
        for system, about in members.items():
            cells = [about["title"]]
            cells += [_cell(results.spread(system, key), results.measures[key]) for key in keys]
            own = results.spread(system, compared)
            cells += [
                "1" if system == key else _against(own, results.spread(key, compared), measure)
                for key, _ in references
            ]
            account = results.account(system, measure.group)
            yield _line([*cells, _lost(account.lost), str(account.duplicated)])
        yield ""


def _deliveries(results: Results) -> Iterator[str]:
    yield _line(["system", "published", "started", "left in the queue", "lost", "duplicated"])
    yield _line(["---", *["---:"] * 5])
    for key, about in results.systems.items():
        a = results.account(key)
        numbers = [f"{n:,}" for n in (a.published, a.started, a.left)]
        yield _line([about["title"], *numbers, _lost(a.lost), str(a.duplicated)])


def _settings(results: Results) -> Iterator[str]:
    machine: dict[str, Any] = results.about["machine"]
    fsync = machine["fsync_ms"]
    yield (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gb']} GB, Linux "
        f"{machine['kernel']}; load before the start {machine['load_before']}. fsync of 4 KiB on "
        f"the broker's disk: median {fsync['median']} ms, longest {fsync['max']} ms."
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
            if name != "seconds"
        }
        said = "; ".join(f"{name}: {note}" for name, note in notes.items())
        yield _line([system["title"], system["settings"], said])
    yield ""
    for whose, found in results.about["versions"].items():
        yield f"- {whose}: {', '.join(f'{name} {number}' for name, number in found.items())}"


def _against(own: Spread | None, reference: Spread | None, measure: Measure) -> str:
    if own is None or reference is None:
        return "–"
    found = ratio(own.median, reference.median, higher_is_better=measure.higher_is_better)
    return "–" if found is None else str(found)


def _cell(spread: Spread | None, measure: Measure) -> str:
    if spread is None:
        return "–"
    median, low, high = (
        f"{value:,.{measure.digits}f}" for value in (spread.median, spread.low, spread.high)
    )
    return median if spread.runs == 1 else f"{median} ({low}–{high})"


def _label(key: str) -> str:
    return key.rpartition("_")[2] if key.endswith(("_p50", "_p95", "_p99")) else "median (range)"


def _lost(number: int) -> str:
    return f"**{number}**" if number else "0"


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"
