"""The workers of one queue, as they reported over the last seconds: busy, runtime, wait."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from laneway.scaling.pace import Pace
    from laneway.scaling.report import Report

#: Jobs that must have ended within the window, or its mean runtime is that of too few.
ENOUGH: Final = 10
#: Workers that are kept in mind; whoever may publish may make names up.
_MOST: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """How long a job runs, in the mean."""

    seconds: float
    #: The jobs that it is the mean of; 0 if none has ended.
    jobs: int
    #: Those that ended in the window, those since the workers began, or those that run still.
    of: Literal["window", "start", "running"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """How long jobs waited that began within the window."""

    started: int
    #: Seconds, in the mean.
    mean: float
    #: How many waited no longer than each bound, in seconds; what waited longer than all is None.
    buckets: tuple[tuple[float | None, int], ...]

    def within(self, seconds: float) -> float | None:
        """The share of them that waited no longer, as the buckets have it; None if none began."""
        if not self.started:
            return None
        kept = sum(n for bound, n in self.buckets if bound is not None and bound <= seconds)
        return kept / self.started


@dataclass(slots=True)
class _Worker:
    last: Report
    heard_at: float
    #: When, and what it had counted by then; what it began with is the first.
    points: deque[tuple[float, Report | None]] = field(default_factory=deque)
    gone: bool = False


class Fleet:
    """The workers of one queue. Reports go in, each with its time; nothing here knows a clock.

    Args:
        pace: how long a report counts.
    """

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._workers: dict[tuple[str, str], _Worker] = {}
        #: The last run of each, by its name.
        self._runs: dict[str, str] = {}
        self._forget_at = 0.0

    def hear(self, report: Report, now: float) -> None:
        """Take a report.

        Args:
            report: of a worker of this queue.
            now: seconds, from any beginning, that never go back.
        """
        self._forget(now)
        worker = self._workers.get((report.worker, report.run))
        if worker is None:
            if len(self._workers) >= _MOST:
                return
            before = self._workers.get((report.worker, self._runs.get(report.worker, "")))
            if before is not None:
                before.gone = True
            self._runs[report.worker] = report.run
            worker = self._workers[report.worker, report.run] = _Worker(report, now)
            worker.points.append((now - report.up, None))
        if report.ended < worker.last.ended or report.started < worker.last.started:
            return  # no worker's own: its numbers never fall
        worker.last, worker.heard_at, worker.gone = report, now, report.leaving
        points = worker.points
        points.append((now, report))
        while len(points) > 2 and points[2][0] <= now - self._pace.window:
            # The very first stays: it is what the worker began with.
            del points[1]

    def _forget(self, now: float) -> None:
        if now < self._forget_at:
            return
        self._forget_at = now + self._pace.every
        for (name, run), worker in tuple(self._workers.items()):
            if now - worker.heard_at > max(self._pace.window, self._stale(worker)):
                del self._workers[name, run]
                if self._runs.get(name) == run:
                    del self._runs[name]

    def _stale(self, worker: _Worker) -> float:
        # A worker may have a slower pace than we.
        return max(self._pace.stale, 3 * min(worker.last.every, 60.0) + 1.0)

    def present(self, now: float) -> list[Report]:
        """The last report of each worker that takes jobs, or was told to pause."""
        return [
            worker.last
            for worker in self._workers.values()
            if not worker.gone and now - worker.heard_at <= self._stale(worker)
        ]

    def runtime(self, now: float) -> Runtime | None:
        """The mean runtime of jobs; None if nobody can know."""
        ended, seconds = self._ended(now, since_start=False)
        if ended >= ENOUGH:
            return Runtime(seconds=seconds / ended, jobs=ended, of="window")
        ended, seconds = self._ended(now, since_start=True)
        present = self.present(now)
        busy = sum(report.busy for report in present)
        running = sum(report.running_for for report in present) / busy if busy else 0.0
        # Jobs that run already for longer than any took before will have run for longer yet.
        if ended and seconds / ended >= running:
            return Runtime(seconds=seconds / ended, jobs=ended, of="start")
        return Runtime(seconds=running, jobs=busy, of="running") if busy else None

    def _ended(self, now: float, *, since_start: bool) -> tuple[int, float]:
        ended, seconds = 0, 0.0
        for worker in self._workers.values():
            before = None if since_start else self._before(worker, now)
            ended += worker.last.ended - (before.ended if before else 0)
            seconds += max(0.0, worker.last.runtime - (before.runtime if before else 0.0))
        return ended, seconds

    def waits(self, now: float) -> Waits:
        """How long jobs waited that began within the window."""
        started, seconds = 0, 0.0
        counts: Counter[float | None] = Counter()
        for worker in self._workers.values():
            before = self._before(worker, now)
            started += worker.last.started - (before.started if before else 0)
            seconds += max(0.0, worker.last.wait - (before.wait if before else 0.0))
            counts.update(dict(worker.last.waits))
            counts.subtract(dict(before.waits) if before else {})
        return Waits(
            started=started,
            mean=seconds / started if started else 0.0,
            buckets=tuple((bound, n) for bound, n in counts.items() if n > 0),
        )

    def _before(self, worker: _Worker, now: float) -> Report | None:
        """What a worker had counted when the window began, or when it was first heard of."""
        begin = now - self._pace.window
        (began, _), *rest = worker.points
        if began > begin:
            return None  # it began within the window, with nothing
        older = [report for at, report in rest if at <= begin]
        return older[-1] if older else rest[0][1]
