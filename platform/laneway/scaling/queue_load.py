"""Everything that is known of the load of one queue, and the answer that follows from it.

Pure: what was seen comes in with its time, and nothing here asks anybody. The rule of all of it:
what is not known is said to be unknown. An autoscaler that reads 0 where nobody knows would stop
the workers of a queue at the very moment when something is wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from laneway.scaling.answer import Answer, Known, Unknown
from laneway.scaling.arrivals import Arrivals
from laneway.scaling.fleet import Fleet, Runtime
from laneway.scaling.need import Load, slots_needed
from laneway.types import format_duration

if TYPE_CHECKING:
    from laneway.policy.queues import Queue
    from laneway.scaling.pace import Pace
    from laneway.scaling.report import Report

#: The share of the window that must have been seen.
COVERED: Final = 0.5
#: Seconds within which a rise of arrivals is seen at the soonest: three statistics of the broker.
#: A queue that promises less soon has the time of its service level.
SHORTEST_RISE: Final = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the broker said of a queue in one look; what leaves a number out is no look."""

    #: Jobs that wait, and could start now: those whose delay has not ended wait elsewhere.
    ready: int
    #: Consumers: one for each worker, or process of a direct pool, that takes jobs.
    consumers: int
    #: Whether it is paused, so that nothing of it is to start.
    paused: bool
    #: Jobs that were ever published into it.
    published: int
    #: Jobs that were ever acknowledged.
    settled: int
    #: Jobs that are in it, waiting or with workers.
    held: int


class QueueLoad:
    """The load of one queue.

    Args:
        queue: of the policy.
        pace: how far back it looks.
    """

    def __init__(self, queue: Queue, pace: Pace) -> None:
        self.queue = queue
        self.fleet = Fleet(pace)
        self._pace = pace
        rise = max(SHORTEST_RISE, queue.service_level)
        self._arrivals = Arrivals(pace.window, rise=rise, every=pace.every)
        self._seen: Seen | None = None
        self._seen_at = 0.0
        self._silent_since: float | None = None
        self._problem: str | None = None

    # -- what comes in -------------------------------------------------------------------------

    def hear(self, report: Report, now: float) -> None:
        """A worker of the queue has reported."""
        self.fleet.hear(report, now)

    def see(self, seen: Seen, now: float) -> None:
        """The broker was looked at."""
        self._seen, self._seen_at, self._problem = seen, now, None
        self._arrivals.add(now, published=seen.published, settled=seen.settled, held=seen.held)
        taking = sum(report.consumers for report in self.fleet.present(now))
        if seen.consumers <= taking:
            self._silent_since = None
        elif self._silent_since is None:
            self._silent_since = now

    def fail(self, problem: str) -> None:
        """The broker could not be looked at.

        Args:
            problem: why, and what to do.
        """
        self._problem = problem

    # -- what follows --------------------------------------------------------------------------

    def answer(self, now: float) -> Answer:
        """How many slots the queue needs now, or why nobody can know."""
        rate = self._arrivals.rate()
        seen = self._seen
        if (why := self._why_unknown(seen, now)) is not None:
            return Unknown(queue=self.queue, reason=why)
        if seen is None:
            return Unknown(queue=self.queue, reason="the broker was not looked at yet", soon=True)
        if rate is None or rate.covers < COVERED * self._pace.window:
            covered = f"{rate.covers if rate else 0:.0f}s"
            window = format_duration(self._pace.window)
            why = (
                f"{covered} of the window of {window} were seen since this process began or the "
                "broker's counters did; it takes half of it"
            )
            return Unknown(queue=self.queue, reason=why, soon=True)
        risen = self._arrivals.rise()
        present = self.fleet.present(now)
        busy, notes = self._busy(seen, present, now)
        if seen.paused:
            # More workers would not start a job of it either; those that are there may stay.
            notes += (f"it is paused, so the {seen.ready} jobs that wait are not counted",)
        if risen is not None:
            seconds = min(rate.covers, self._pace.window)
            mean = f"{rate.per_second:.3g} jobs/s are the mean of the last {seconds:.0f} s"
            notes += (f"arrivals rose: {mean}",)
        arrivals = risen or rate
        runtime = self.fleet.runtime(now)
        load = Load(
            arrivals=arrivals.per_second,
            runtime=runtime.seconds if runtime else self.queue.scaling.expected_runtime,
            busy=busy,
            backlog=0 if seen.paused else seen.ready,
        )
        return Known(
            queue=self.queue,
            load=load,
            need=slots_needed(self.queue, load),
            runtime_from=_words(runtime, self.queue, self._pace),
            reporting=len(present),
            slots_there=sum(report.concurrency for report in present),
            notes=notes,
            waits=self.fleet.waits(now),
            covers=min(arrivals.covers, self._pace.window),
        )

    def _why_unknown(self, seen: Seen | None, now: float) -> str | None:
        """What is missing besides time."""
        if self._problem is not None or seen is None:
            return self._problem
        if (age := now - self._seen_at) > self._pace.stale:
            return f"the broker was last looked at {age:.0f} s ago"
        if seen.consumers and not self.fleet.present(now):
            return (
                f"no worker reports, and the broker has {seen.consumers} consumers of the "
                "queue: are these workers older than the exchange worker.reports, or may they not "
                "write to it? Their log says so at their start"
            )
        return None

    def _busy(self, seen: Seen, present: list[Report], now: float) -> tuple[float, tuple[str, ...]]:
        busy = float(sum(report.busy for report in present))
        taking = sum(report.consumers for report in present)
        if not present and seen.ready:
            return busy, ("no worker takes jobs",)
        silent = seen.consumers - taking
        lasts = self._silent_since is not None and now - self._silent_since > self._pace.stale
        if silent > 0 and lasts and taking:
            words = f"{silent} of {seen.consumers} consumers do not report: taken to be as busy"
            return busy * seen.consumers / taking, (words,)
        return busy, ()


def _words(runtime: Runtime | None, queue: Queue, pace: Pace) -> str:
    if runtime is None:
        expected = format_duration(queue.scaling.expected_runtime)
        return f"nobody has run a job yet, so expected_runtime = {expected} of its file is taken"
    jobs = f"{runtime.jobs} job{'' if runtime.jobs == 1 else 's'}"
    match runtime.of:
        case "window":
            return f"runtime of {jobs} that ended in the last {format_duration(pace.window)}"
        case "start":
            return f"runtime of the {jobs} that ended since the workers began"
        case "running":
            return f"runtime of the {jobs} that run now and are longer than those before"
