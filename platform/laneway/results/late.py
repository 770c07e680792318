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
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from laneway.after_fork import start_afresh_in_child
from laneway.results.backlog import Backlog
from laneway.results.outage import AWAY, FIRST_PAUSE, LAST_PAUSE, Outage

if TYPE_CHECKING:
    from collections.abc import Callable

    from laneway.results.backlog import Waiting, Write

log = logging.getLogger(__name__)

#: Jobs of one process whose results wait at most; beyond it the oldest is given up.
MOST_WAITING: Final = 10_000
#: Bytes of their results at most.
MOST_BYTES: Final = 64 * 2**20
#: Seconds after which a result that could not be stored is given up.
LONGEST_WAIT: Final = 3600.0


class Gauge(Protocol):
    """Where the number of jobs with waiting results is shown."""

    results_waiting: int


class LateResults:
    """The results of one process that wait for their backend. Safe in threads and after a fork.

    Args:
        lost: called with the task's name, the job's id and why, for each job that is given up.
        most: jobs that may wait.
        most_bytes: bytes that their results may take.
        longest: seconds that one may wait.
        first_pause: seconds before the second try; doubled with each failure in a row.
        away: seconds after the last failure for which the backend counts as away.
    """

    def __init__(
        self,
        lost: Callable[[str | None, str | None, str], None],
        *,
        most: int = MOST_WAITING,
        most_bytes: int = MOST_BYTES,
        longest: float = LONGEST_WAIT,
        first_pause: float = FIRST_PAUSE,
        away: float = AWAY,
    ) -> None:
        #: Tells that a job's result, or its part of a chord, is lost.
        self.lost = lost
        self._new_backlog = partial(Backlog, most, most_bytes, longest)
        self._new_outage = partial(Outage, first_pause, away)
        self._longest = longest
        self._gauge: Gauge | None = None
        self.start_afresh()
        start_afresh_in_child(self)

    def start_afresh(self) -> None:
        """Hold nothing: what the parent of this process has to write, its thread writes."""
        #: Whether there is anything to look at: while not, storing a result costs nothing more.
        self.troubled = False
        self._news = threading.Condition()
        self._backlog = self._new_backlog()
        self._outage = self._new_outage()
        self._closing_at: float | None = None
        self._thread: threading.Thread | None = None

    @property
    def waiting(self) -> int:
        """Jobs with results that wait."""
        return len(self._backlog)

    def show(self, gauge: Gauge) -> None:
        """Keep ``gauge.results_waiting`` true from now on."""
        self._gauge = gauge
        gauge.results_waiting = self.waiting

    def is_away(self) -> bool:
        """Whether the backend failed so lately that nobody but the thread need ask for it."""
        if not self.troubled:
            return False
        if self._outage.lasts(time.monotonic()):
            return True
        with self._news:
            self.troubled = bool(self.waiting)
        return False

    def holds(self, task_id: str) -> bool:
        """Whether something of this job waits: what comes later must not be written before it."""
        if not self.troubled:
            return False
        with self._news:
            return task_id in self._backlog

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
            lost = self._backlog.add(task_id, task, write, now, wait)
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
            self._outage.hurry(now)
            self._news.notify()
        if self._thread is not None:
            self._thread.join(seconds)
        with self._news:
            left = self._backlog.clear()
            self._show()
        self._tell_lost(left, "the process ended before its result could be stored")

    # -- with the lock held --------------------------------------------------------------------

    def _start(self) -> None:
        if self._thread is None and self._closing_at is None:
            self._thread = threading.Thread(target=self._run, name="late-results", daemon=True)
            self._thread.start()

    def _show(self) -> None:
        if self._gauge is not None:
            self._gauge.results_waiting = self.waiting

    def _note_failure(self, error: BaseException) -> None:
        self.troubled = True
        self._outage.failed(error, time.monotonic(), ending=self._closing_at is not None)

    # -- the thread ----------------------------------------------------------------------------

    def _run(self) -> None:
        while (job := self._next()) is not None:
            try:
                for kind, write in tuple(job.writes.items()):
                    write.write()
                    with self._news:
                        self._backlog.written(kind)
            except Exception as error:  # noqa: BLE001 (backends raise what they like)
                self._put_back(error)
            else:
                self._written()

    def _next(self) -> Waiting | None:
        """The next job to be tried; None when the process ends."""
        with self._news:
            while True:
                now = time.monotonic()
                wait: float | None = None
                if len(self._backlog) and not (wait := self._outage.pause(now)):
                    wait, job = self._backlog.take(now)
                    if job is not None:
                        return job
                closing = self._closing_at
                if closing is not None:
                    if not len(self._backlog) or now >= closing:
                        return None
                    wait = min(wait or LAST_PAUSE, LAST_PAUSE, closing - now)
                self._news.wait(wait)

    def _written(self) -> None:
        with self._news:
            again = self._outage.ended()
            self._backlog.done()
            self.troubled = bool(self.waiting)
            self._show()
        if again:
            log.info("the result backend takes results again; %d wait", self.waiting)

    def _put_back(self, error: Exception) -> None:
        with self._news:
            if not self._backlog.at_hand:
                # Given up in the meantime.
                return
            self._note_failure(error)
            lost = self._backlog.put_back(time.monotonic())
            self._show()
        if lost is not None:
            self._tell_lost([lost], f"not stored for {self._longest:g} s ({type(error).__name__})")

    def _tell_lost(self, jobs: list[Waiting], why: str) -> None:
        for job in jobs:
            self.lost(job.task, job.task_id, why)
