"""Results that could not be stored when their jobs ended: kept in memory, and written later.

A job whose code has ended is done, whatever Redis does: it is acknowledged, and what is still to be
written about it waits here, in the process that ran it::

    job ends ──> stored at once
       │
       └─ Redis is away ──> waits ──> stored late
                              └─────> lost, and told: too many, too long, or the process ended

One thread writes, in the order in which jobs ended; while Redis is away it alone asks for it, so
that jobs lose no time.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from laneway.after_fork import start_afresh_in_child

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

#: Jobs of one process whose results wait at most; beyond it the oldest is given up.
MOST_WAITING: Final = 10_000
#: Bytes of their results at most.
MOST_BYTES: Final = 64 * 2**20
#: Seconds after which a result that could not be stored is given up.
LONGEST_WAIT: Final = 3600.0
#: Seconds between two tries while nothing can be stored, at most; drawn anew each time.
LONGEST_PAUSE: Final = 2.0
_FIRST_PAUSE: Final = 0.1
#: Seconds after the last failure for which the backend counts as away.
_AWAY: Final = 5.0
#: Seconds between two tries when the process is about to end.
_LAST_PAUSE: Final = 0.2
#: Seconds after which a backend that stays away is said again.
_SAY_AGAIN: Final = 60.0


class Gauge(Protocol):
    """Where the number of jobs with waiting results is shown."""

    results_waiting: int


@dataclass(frozen=True, slots=True)
class Write:
    """Something to be written about a job."""

    #: What it is; a later one of the same kind replaces it.
    kind: str
    #: Writes it; raises if it could not.
    write: Callable[[], object]
    #: Bytes that it keeps in memory.
    size: int = 0
    #: Seconds to wait before the next try of what may have happened in part.
    rest: float = 0.0


@dataclass(slots=True)
class _Job:
    task_id: str
    task: str | None
    since: float
    #: By kind, in the order in which they are written.
    writes: dict[str, Write] = field(default_factory=dict)
    not_before: float = 0.0

    @property
    def size(self) -> int:
        return sum(write.size for write in self.writes.values())


class LateResults:
    """The results of one process that wait for their backend. Safe in threads and after a fork.

    Args:
        lost: called with the task's name, the job's id and why, for each job that is given up.
        most: jobs that may wait.
        most_bytes: bytes that their results may take.
        longest: seconds that one may wait.
        first_pause: seconds before the second try; doubled with each failure in a row.
    """

    def __init__(
        self,
        lost: Callable[[str | None, str | None, str], None],
        *,
        most: int = MOST_WAITING,
        most_bytes: int = MOST_BYTES,
        longest: float = LONGEST_WAIT,
        first_pause: float = _FIRST_PAUSE,
    ) -> None:
        #: Tells that a job's result, or its part of a chord, is lost.
        self.lost = lost
        self._most = most
        self._most_bytes = most_bytes
        self._longest = longest
        self._first_pause = first_pause
        self._gauge: Gauge | None = None
        self.start_afresh()
        start_afresh_in_child(self)

    def start_afresh(self) -> None:
        """Hold nothing: what the parent of this process has to write, its thread writes."""
        #: Whether there is anything to look at: while not, storing a result costs nothing more.
        self.troubled = False
        self._news = threading.Condition()
        self._jobs: OrderedDict[str, _Job] = OrderedDict()
        self._at_hand: _Job | None = None
        self._bytes = 0
        self._failures = 0
        self._say_again_at = 0.0
        self._away_until = 0.0
        self._pause_until = 0.0
        self._closing_at: float | None = None
        self._thread: threading.Thread | None = None

    @property
    def waiting(self) -> int:
        """Jobs with results that wait."""
        return len(self._jobs) + (self._at_hand is not None)

    def show(self, gauge: Gauge) -> None:
        """Keep ``gauge.results_waiting`` true from now on."""
        self._gauge = gauge
        gauge.results_waiting = self.waiting

    def is_away(self) -> bool:
        """Whether the backend failed so lately that nobody but the thread need ask for it."""
        if not self.troubled:
            return False
        if self._away_until > time.monotonic():
            return True
        with self._news:
            self.troubled = bool(self.waiting)
        return False

    def holds(self, task_id: str) -> bool:
        """Whether something of this job waits: what comes later must not be written before it."""
        if not self.troubled:
            return False
        with self._news:
            at_hand = self._at_hand
            return task_id in self._jobs or (at_hand is not None and at_hand.task_id == task_id)

    def failed(self, error: BaseException) -> None:
        """Note that something could not be stored."""
        with self._news:
            self._note_failure(error)

    def add(self, task_id: str, task: str | None, write: Write, *, wait: float = 0.0) -> None:
        """Write something later.

        Args:
            task_id: the job.
            task: the name of its task.
            write: what to write.
            wait: seconds for which it is not tried.
        """
        now = time.monotonic()
        with self._news:
            self.troubled = True
            job = self._jobs.get(task_id)
            if job is None:
                job = self._jobs[task_id] = _Job(task_id, task, now)
            replaced = job.writes.pop(write.kind, None)
            job.writes[write.kind] = write
            job.not_before = max(job.not_before, now + wait)
            self._bytes += write.size - (replaced.size if replaced else 0)
            lost = self._beyond_the_bounds()
            self._start()
            self._show()
            self._news.notify()
        self._tell_lost(lost, "too many results wait for their backend")

    def close(self, seconds: float) -> None:
        """Write what waits, for so many seconds; what is left then is lost."""
        if not self.troubled:
            return
        with self._news:
            now = time.monotonic()
            self._closing_at = now + seconds
            self._pause_until = min(self._pause_until, now + _LAST_PAUSE)
            self._news.notify()
        if self._thread is not None:
            self._thread.join(seconds)
        with self._news:
            left = list(self._jobs.values())
            if self._at_hand is not None:
                left.insert(0, self._at_hand)
                self._at_hand = None
            self._jobs.clear()
            self._bytes = 0
            self._show()
        self._tell_lost(left, "the process ended before its result could be stored")

    # -- with the lock held --------------------------------------------------------------------

    def _beyond_the_bounds(self) -> list[_Job]:
        lost = []
        while len(self._jobs) > self._most or (self._bytes > self._most_bytes and self._jobs):
            _, job = self._jobs.popitem(last=False)
            self._bytes -= job.size
            lost.append(job)
        return lost

    def _start(self) -> None:
        if self._thread is None and self._closing_at is None:
            self._thread = threading.Thread(target=self._run, name="late-results", daemon=True)
            self._thread.start()

    def _show(self) -> None:
        if self._gauge is not None:
            self._gauge.results_waiting = self.waiting

    def _note_failure(self, error: BaseException) -> None:
        now = time.monotonic()
        if now >= self._say_again_at:
            self._say_again_at = now + _SAY_AGAIN
            # Its text can repeat what was to be written.
            log.warning(
                "the result backend does not take results (%s): jobs go on, what they returned is "
                "kept and stored when it does",
                type(error).__name__,
            )
        self.troubled = True
        self._failures += 1
        self._away_until = now + _AWAY
        bound = min(self._first_pause * 2 ** min(self._failures - 1, 10), LONGEST_PAUSE)
        if self._closing_at is not None:
            bound = _LAST_PAUSE
        self._pause_until = now + bound * random.uniform(0.5, 1.0)  # noqa: S311 (only a pause)

    # -- the thread ----------------------------------------------------------------------------

    def _run(self) -> None:
        while (job := self._next()) is not None:
            try:
                for kind, write in tuple(job.writes.items()):
                    write.write()
                    with self._news:
                        del job.writes[kind]
                        self._bytes -= write.size
            except Exception as error:  # noqa: BLE001 (backends raise what they like)
                self._put_back(job, error)
            else:
                self._written()

    def _next(self) -> _Job | None:
        with self._news:
            while True:
                now = time.monotonic()
                wait, job = self._first_due(now)
                if job is not None:
                    del self._jobs[job.task_id]
                    self._at_hand = job
                    return job
                closing = self._closing_at
                if closing is not None:
                    if not self._jobs or now >= closing:
                        return None
                    wait = min(wait or _LAST_PAUSE, _LAST_PAUSE, closing - now)
                self._news.wait(wait)

    def _first_due(self, now: float) -> tuple[float | None, _Job | None]:
        """The first job to be tried, or how long to wait for one; None is until there is news."""
        if not self._jobs:
            return None, None
        if self._pause_until > now:
            return self._pause_until - now, None
        due = float("inf")
        for job in self._jobs.values():
            if job.not_before <= now:
                return None, job
            due = min(due, job.not_before)
        return due - now, None

    def _written(self) -> None:
        with self._news:
            again, self._failures = self._failures > 0, 0
            self._away_until = self._pause_until = 0.0
            self._at_hand = None
            self.troubled = bool(self._jobs)
            self._show()
        if again:
            log.info("the result backend takes results again; %d wait", self.waiting)

    def _put_back(self, job: _Job, error: Exception) -> None:
        now = time.monotonic()
        lost = []
        with self._news:
            if self._at_hand is None:
                # Given up in the meantime.
                return
            self._note_failure(error)
            self._at_hand = None
            at = next(iter(job.writes.values()))
            job.not_before = now + at.rest
            newer = self._jobs.pop(job.task_id, None)
            if newer is not None:
                for kind, write in newer.writes.items():
                    replaced = job.writes.pop(kind, None)
                    self._bytes -= replaced.size if replaced else 0
                    job.writes[kind] = write
            if now - job.since > self._longest:
                self._bytes -= job.size
                lost.append(job)
            else:
                # Behind the others: what is wrong may be wrong with this one alone.
                self._jobs[job.task_id] = job
            self._show()
        self._tell_lost(lost, f"not stored for {self._longest:g} s ({type(error).__name__})")

    def _tell_lost(self, jobs: list[_Job], why: str) -> None:
        for job in jobs:
            self.lost(job.task, job.task_id, why)
