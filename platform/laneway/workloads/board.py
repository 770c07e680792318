"""The board: facts in, numbers out.

A :class:`Board` listens to the facts of all workers, is told now and then how many messages the
broker holds, and gives a :class:`BoardView` when asked. It reads no clock: the time comes with the
facts and with the question.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from laneway.facts import Fact

#: Seconds over which the rate of done jobs is averaged.
RATE_WINDOW: Final = 10.0
#: Seconds over which the percentiles of the wait are taken.
WAIT_WINDOW: Final = 60.0
#: Waits kept per queue at most: older ones leave first, also inside the window.
MAX_WAITS: Final = 5_000
#: Whole seconds of the history of done jobs.
HISTORY_SECONDS: Final = 30
#: Failures kept, the newest ones.
MAX_FAILURES: Final = 5

_ENDED: Final = frozenset({"succeeded", "failed", "rejected", "quarantined"})
_LEFT: Final = _ENDED | {"retried"}


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueView:
    """The numbers of one queue (or, as the total, of all)."""

    #: The queue's name.
    queue: str
    #: Messages that wait in the broker; None while the broker was not asked or does not say.
    ready: int | None = None
    #: Jobs whose task code runs now.
    running: int = 0
    #: Jobs that ended since the board exists, in whatever way.
    done: int = 0
    #: Jobs that ended per second, over :data:`RATE_WINDOW`.
    rate: float = 0.0
    #: Jobs that ended in each of the last whole seconds, oldest first.
    history: tuple[int, ...] = ()
    #: Median wait over :data:`WAIT_WINDOW`, in seconds; None if nothing started.
    wait_p50: float | None = None
    #: 95th percentile of the wait over :data:`WAIT_WINDOW`, in seconds; None if nothing started.
    wait_p95: float | None = None
    #: Jobs that failed for good since the board exists.
    failures: int = 0
    #: Runs that ended in a retry since the board exists.
    retries: int = 0
    #: Workers that consume the queue now.
    workers: int = 0
    #: The queue is paused.
    paused: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One of the last failures."""

    #: When, in seconds since 1970.
    at: float
    #: Where.
    queue: str
    #: The task's name; empty if the message had none.
    task: str
    #: The job's id; empty if the message had none.
    task_id: str
    #: The error's class and text, in one line.
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardView:
    """All numbers at one moment."""

    #: When, in seconds since 1970.
    at: float
    #: Seconds since the board exists.
    uptime: float
    #: One for each queue, in the order in which the board was told of them.
    queues: tuple[QueueView, ...]
    #: All queues together.
    total: QueueView
    #: The last failures, newest first.
    failures: tuple[Failure, ...]


@dataclass(slots=True)
class _Tally:
    """What is remembered of one queue."""

    ready: int | None = None
    running: dict[str, str | None] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    ends: deque[float] = field(default_factory=deque)
    waits: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=MAX_WAITS))
    workers: set[str] = field(default_factory=set)
    paused: bool = False

    def take(self, fact: Fact) -> None:
        self.counts[fact.kind] += 1
        if fact.kind in _ENDED:
            self.ends.append(fact.at)
        if fact.kind in _LEFT and fact.task_id is not None:
            self.running.pop(fact.task_id, None)
        match fact.kind:
            case "started":
                if fact.task_id is not None:
                    self.running[fact.task_id] = fact.worker
                if fact.wait is not None:
                    self.waits.append((fact.at, fact.wait))
            case "worker_ready":
                self.forget(fact.worker)
                self.workers.add(fact.worker or "")
            case "worker_stopped":
                self.forget(fact.worker)
            case "paused" | "resumed":
                self.paused = fact.kind == "paused"

    def forget(self, worker: str | None) -> None:
        """A worker that left, or came again under its name, runs nothing of before."""
        self.workers.discard(worker or "")
        for task_id in [job for job, its in self.running.items() if its == worker]:
            del self.running[task_id]

    def prune(self, now: float) -> None:
        while self.ends and self.ends[0] <= now - HISTORY_SECONDS - 1:
            self.ends.popleft()
        while self.waits and self.waits[0][0] <= now - WAIT_WINDOW:
            self.waits.popleft()


class Board:
    """Counts what the workers tell. Safe to use from several threads.

    Args:
        queues: the queues to show, in this order; facts of others are not counted.
        since: when the board begins, in seconds since 1970.
    """

    def __init__(self, queues: Iterable[str], *, since: float) -> None:
        self._since = since
        self._tallies = {name: _Tally() for name in queues}
        self._failures: deque[Failure] = deque(maxlen=MAX_FAILURES)
        self._lock = threading.Lock()

    def __call__(self, fact: Fact, /) -> None:
        """Take a fact: the board is a listener."""
        with self._lock:
            tally = self._tallies.get(fact.queue or "")
            if tally is None:
                return
            tally.take(fact)
            if fact.kind in {"failed", "quarantined"} or _is_given_up(fact):
                self._failures.appendleft(_failure(fact))

    def waiting(self, counts: Mapping[str, int]) -> None:
        """Take how many messages wait in each queue; a queue that is not named is unknown."""
        with self._lock:
            for name, tally in self._tallies.items():
                tally.ready = counts.get(name)

    def worker_lost(self, queue: str) -> None:
        """The workers of a queue are gone and could not say so: none of its jobs runs."""
        with self._lock:
            if tally := self._tallies.get(queue):
                tally.workers.clear()
                tally.running.clear()

    def view(self, now: float) -> BoardView:
        """The numbers at ``now`` (seconds since 1970)."""
        with self._lock:
            for tally in self._tallies.values():
                tally.prune(now)
            return BoardView(
                at=now,
                uptime=max(0.0, now - self._since),
                queues=tuple(
                    self._sum(name, [tally], now) for name, tally in self._tallies.items()
                ),
                total=self._sum("all", list(self._tallies.values()), now),
                failures=tuple(self._failures),
            )

    def _sum(self, name: str, tallies: Sequence[_Tally], now: float) -> QueueView:
        counts = sum((tally.counts for tally in tallies), Counter[str]())
        ends = [end for tally in tallies for end in tally.ends]
        waits = sorted(wait for tally in tallies for _, wait in tally.waits)
        known = [tally.ready for tally in tallies if tally.ready is not None]
        # A board younger than the window would show too little; one of no age, infinitely much.
        seconds = min(RATE_WINDOW, max(1.0, now - self._since))
        return QueueView(
            queue=name,
            ready=sum(known) if known else None,
            running=sum(len(tally.running) for tally in tallies),
            done=sum(counts[kind] for kind in _ENDED),
            rate=sum(1 for end in ends if end > now - RATE_WINDOW) / seconds,
            history=_history(ends, now),
            wait_p50=percentile(waits, 50),
            wait_p95=percentile(waits, 95),
            failures=counts["failed"] + counts["quarantined"],
            retries=counts["retried"],
            workers=sum(len(tally.workers) for tally in tallies),
            paused=bool(tallies) and all(tally.paused for tally in tallies),
        )


def percentile(ordered: Sequence[float], percent: float) -> float | None:
    """The nearest-rank percentile of ``ordered`` (ascending); None if it is empty.

    >>> percentile([1, 2, 3, 4], 50), percentile([1, 2, 3, 4], 95), percentile([], 50)
    (2, 4, None)
    """
    if not ordered:
        return None
    rank = -(-len(ordered) * percent // 100)
    return ordered[max(0, int(rank) - 1)]


def _history(ends: Iterable[float], now: float) -> tuple[int, ...]:
    """How many ended in each of the last whole seconds; the second that still runs is left out."""
    this_second = int(now)
    counts = Counter(int(end) for end in ends)
    return tuple(counts[second] for second in range(this_second - HISTORY_SECONDS, this_second))


def _is_given_up(fact: Fact) -> bool:
    """A job that no worker saw the end of: all that is told of it is its dead letter."""
    return fact.kind == "dead_lettered" and fact.outcome in {"expired", "lost"}


def _failure(fact: Fact) -> Failure:
    error = ": ".join(part for part in (fact.error_type, fact.reason) if part)
    return Failure(
        at=fact.at,
        queue=fact.queue or "",
        task=fact.task or "",
        task_id=fact.task_id or "",
        error=" ".join((error or fact.kind).split()),
    )
