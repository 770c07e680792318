"""The measurements: each takes one system once through a group of measures."""

from __future__ import annotations

import itertools
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from bench.account import NOTHING, Account, account
from bench.machine import pss
from bench.plan import size
from bench.stage import RESERVED, URGENT
from bench.summary import inversions, percentile, steady_rate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from bench.plan import Group, Mode
    from bench.stage import Stage

#: At 10 % load: at least and at most so many jobs a second, because one process publishes them.
_PACE: Final = (10.0, 300.0)
#: Messages encoded beforehand for each second of the yardstick: more than it can publish.
_READY_A_SECOND: Final = 30_000
#: Seconds after the last start in which a second start of a job may still come.
_SETTLE = 0.3
#: Seconds that a stopped worker's unfinished messages may need to be back in the queue.
_BACK = 10.0


@dataclass
class Outcome:
    """What one visit brought."""

    values: dict[str, float] = field(default_factory=dict)
    account: Account = NOTHING
    notes: dict[str, Any] = field(default_factory=dict)


class _Lost(Exception):
    """Jobs do not start any more although some are missing."""


def measure(group: Group, stage: Stage, mode: Mode, rates: dict[str, float]) -> Outcome:
    """Take a system through a group.

    Args:
        group: which.
        stage: the system.
        mode: how much.
        rates: jobs a second that the system does of each kind, as known so far; kept up to date.

    Raises:
        SystemFailed: the system ended or did not start.
    """
    stage.fresh()
    if group == "growth":
        return _growth(stage, mode)
    outcome = Outcome()
    if group == "publish":
        _publish(stage, mode, outcome)
    elif group == "work":
        _work(stage, mode, rates, outcome)
    else:
        _flood(stage, mode, outcome)
    return outcome


# -- publishing ------------------------------------------------------------------------------


def _publish(stage: Stage, mode: Mode, outcome: Outcome) -> None:
    published: list[range] = []
    for do in ("one", "many"):
        orders: dict[str, Any] = {
            "do": do,
            "kind": "noop",
            "queue": "default",
            "seconds": mode.publish_seconds,
        }
        with stage.publisher(**orders) as publisher:
            answer = publisher.go()
        published.append(answer["jobs"])
        if "not_offered" in answer:
            outcome.notes["publish_many"] = answer["not_offered"]
            continue
        outcome.values[f"publish_{do}"] = answer["count"] / answer["seconds"]
        if do == "one":
            cpu = answer["cpu_seconds"] / answer["count"]
            outcome.values["publish_one_cpu"] = cpu * 1e6
        else:
            outcome.notes["publish_many"] = answer["how"]
    outcome.account = _counted(stage, published)


def yardstick(stage: Stage, mode: Mode) -> Outcome:
    """Publish the system's own bytes with nothing but py-amqp: the yardstick of publish many."""
    stage.fresh()
    outcome = Outcome()
    template = stage.template("noop", "default")
    jobs = stage.numbers(round(_READY_A_SECOND * mode.publish_seconds))
    ready = [template.copy(job) for job in jobs]
    with stage.raw() as publisher:
        began = time.monotonic()
        until = began + mode.publish_seconds
        in_time = itertools.takewhile(lambda _: time.monotonic() < until, ready)
        count = publisher.publish_singly(template, in_time)
        outcome.values["publish_many"] = count / (time.monotonic() - began)
    outcome.notes["publish_many"] = "basic_publish of ready bytes, 2,048 open confirms"
    outcome.account = _counted(stage, [jobs[:count]])
    return outcome


def _counted(stage: Stage, published: Sequence[range]) -> Account:
    """Nothing ran: what was accepted must be in the queue."""
    total = sum(map(len, published))
    _until(lambda: stage.ready("default") >= total)
    return account(published, [], left=stage.ready("default"))


# -- working ---------------------------------------------------------------------------------


def _work(stage: Stage, mode: Mode, rates: dict[str, float], outcome: Outcome) -> None:
    """One life of a worker: it starts on a filled queue and stays for everything else."""
    published: list[range] = []
    values = outcome.values

    def fill(kind: str, seconds: float) -> range:
        jobs = stage.prefill(kind, "default", size(rates[kind], seconds))
        published.append(jobs)
        return jobs

    def wait() -> dict[int, float]:
        if not stage.wait_for_starts(sum(map(len, published))):
            raise _Lost
        return dict(stage.starts.read())

    jobs = fill("noop", mode.drain_seconds)
    with _to_its_end(stage, published, outcome), stage.worker("default") as worker:
        starts = wait()
        values["startup"] = min(starts.values()) - worker.spawned
        values["drain_noop"] = rates["noop"] = _rate(starts, jobs, rates["noop"])
        sizes = pss(worker.processes())
        values["memory"] = sum(sizes) / 2**20
        values["memory_largest"] = max(sizes) / 2**20
        for kind in ("sleep", "cpu"):
            # The raw publisher is many times faster than these jobs, so this is a filled queue too.
            jobs = fill(kind, mode.drain_seconds)
            values[f"drain_{kind}"] = rates[kind] = _rate(wait(), jobs, rates[kind])
        pace = min(_PACE[1], max(_PACE[0], rates["noop"] / 10))
        outcome.notes["latency"] = f"{pace:.0f} jobs/s"
        orders: dict[str, Any] = {"do": "paced", "queue": "default", "kind": "noop"}
        seconds = mode.paced_seconds
        with stage.publisher(**orders, rate=pace, seconds=seconds) as publisher:
            answer = publisher.go()
        published.append(answer["jobs"])
        _percentiles(values, "latency", _waits(answer["sent"], wait()))
        rate = mode.urgent_rate
        with stage.publisher(**orders, priority=URGENT, rate=rate, seconds=seconds) as publisher:
            backlog = fill("sleep", seconds * 1.3 + 0.5)
            answer = publisher.go()
        published.append(answer["jobs"])
        _overtaking(values, answer["sent"], backlog, wait())


def _overtaking(
    values: dict[str, float],
    sent: list[tuple[int, float, float]],
    backlog: range,
    starts: dict[int, float],
) -> None:
    """How urgent jobs did that came while the backlog was being worked off."""
    others = [starts[job] for job in backlog]
    over = max(others)
    there = [(job, due, accepted) for job, due, accepted in sent if accepted < over]
    if there:
        passed = inversions([(accepted, starts[job]) for job, _, accepted in there], others)
        values["inversions"] = sum(passed) / len(passed)
        values["inversions_most"] = max(passed)
        _percentiles(values, "overtake", _waits(there, starts))


# -- urgent jobs beside a flood --------------------------------------------------------------


def _flood(stage: Stage, mode: Mode, outcome: Outcome) -> None:
    published = [stage.prefill("sleep", "low", mode.flood_backlog)]
    orders: dict[str, Any] = {"do": "paced", "kind": "noop", "queue": "high", "priority": URGENT}
    orders |= {"rate": mode.urgent_rate, "seconds": mode.flood_seconds}
    with (
        _to_its_end(stage, published, outcome),
        stage.worker("low"),
        stage.worker("high"),
        stage.publisher(**orders) as publisher,
    ):
        low = published[0]
        # Both work: a job of the low queue has started, and the publisher's first.
        _until(lambda: _both_kinds(stage, low), seconds=60)
        with _flooding(stage, mode) as flood:
            answer = publisher.go()
        published += [answer["jobs"], flood()]
        urgent = set(answer["jobs"])
        _until(lambda: urgent <= {job for job, _ in stage.starts.read()}, seconds=30)
        starts = dict(stage.starts.read())
        outcome.notes["flood"] = f"{stage.ready('low'):,} jobs in the low queue at the end"
        if not urgent <= starts.keys():
            raise _Lost
        _percentiles(outcome.values, "flood", _waits(answer["sent"], starts))


def _both_kinds(stage: Stage, low: range) -> bool:
    started = {job in low for job, _ in stage.starts.read()}
    return len(started) == 2


@contextmanager
def _flooding(stage: Stage, mode: Mode) -> Iterator[Callable[[], range]]:
    """Publish low jobs, raw, at a steady rate; yields what tells, afterwards, which they were."""
    first = stage.numbers(RESERVED).start
    done = [0]
    over = threading.Event()

    def flood() -> None:
        template, step = stage.template("sleep", "low"), 0.05
        batch = max(1, round(mode.flood_rate * step))
        began = time.monotonic()
        with stage.raw() as publisher:
            while not over.is_set():
                publisher.publish(template, range(first + done[0], first + done[0] + batch))
                done[0] += batch
                late = began + done[0] / mode.flood_rate - time.monotonic()
                over.wait(max(0.0, late))

    thread = threading.Thread(target=flood)
    thread.start()
    try:
        yield lambda: range(first, first + done[0])
    finally:
        over.set()
        thread.join()


# -- the length of the queue -----------------------------------------------------------------


def _growth(stage: Stage, mode: Mode) -> Outcome:
    total = Outcome()
    for length in mode.growth_sizes:
        stage.fresh()
        one = Outcome()
        published = [stage.prefill("noop", "default", length)]
        with _to_its_end(stage, published, one), stage.worker("default"):
            first = min(length, mode.growth_first)
            if not stage.wait_for_starts(first):
                raise _Lost
            moments = sorted(moment for _, moment in stage.starts.read())[:first]
            total.values[f"growth_{length}"] = steady_rate(moments)
        total.account += one.account
    return total


# -- what they share -------------------------------------------------------------------------


@contextmanager
def _to_its_end(stage: Stage, published: list[range], outcome: Outcome) -> Iterator[None]:
    """Around the life of workers: when they have stopped, the account is made."""
    lost = False
    try:
        yield
    except _Lost:
        lost = True
    time.sleep(_SETTLE)
    total = sum(map(len, published))

    def left() -> int:
        return sum(stage.ready(queue) for queue in ("default", "high", "low"))

    if not lost:
        _until(lambda: len({job for job, _ in stage.starts.read()}) + left() >= total)
    outcome.account = account(published, [job for job, _ in stage.starts.read()], left=left())


def _until(true: Callable[[], bool], seconds: float | None = None) -> bool:
    deadline = time.monotonic() + (_BACK if seconds is None else seconds)
    while not (held := true()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return held


def _rate(starts: dict[int, float], jobs: range, known: float) -> float:
    return steady_rate([starts[job] for job in jobs]) or known


def _waits(sent: Sequence[Sequence[float]], starts: dict[int, float]) -> list[float]:
    """Milliseconds from when each job was due to be published until it started."""
    return [(starts[int(job)] - due) * 1000 for job, due, _ in sent]


def _percentiles(values: dict[str, float], key: str, waits: list[float]) -> None:
    for percent in (50, 95, 99):
        values[f"{key}_p{percent}"] = percentile(waits, percent)
