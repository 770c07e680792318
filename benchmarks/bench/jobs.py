"""The three jobs that every system runs, and one that fails."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final

from bench.ledger import VARIABLE, Ledger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: Seconds that ``sleep`` sleeps and ``cpu`` computes.
RUNTIME: Final = 0.005

_ledger: Final = Ledger(os.environ.get(VARIABLE, "."))


def noop(job: int) -> None:
    """Does nothing but be counted."""
    _ledger.started(job)


def sleep(job: int) -> None:
    """Waits 5 ms, as for an answer from elsewhere."""
    _ledger.started(job)
    time.sleep(RUNTIME)


def cpu(job: int) -> None:
    """Computes for 5 ms of its own thread's processor time."""
    _ledger.started(job)
    until = time.thread_time() + RUNTIME
    while time.thread_time() < until:
        sum(range(200))


#: Every so many-th of the jobs of :func:`declining` fails.
DECLINED_EVERY: Final = 100


class Declined(Exception):
    """What a job raises that fails."""


def declining(job: int) -> None:
    """As :func:`noop`, but every hundredth fails."""
    _ledger.started(job)
    if job % DECLINED_EVERY == 0:
        raise Declined(f"the job {job}")


#: By name.
JOBS: Final[Mapping[str, Callable[[int], None]]] = {"noop": noop, "sleep": sleep, "cpu": cpu}
