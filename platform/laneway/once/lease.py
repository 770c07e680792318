"""Leases: while a job runs, its process says so again and again; when it dies, the lease ends."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from laneway.after_fork import start_afresh_in_child
from laneway.once.marks import MarksUnreachable

if TYPE_CHECKING:
    from laneway.once.marks import Marks

log = logging.getLogger(__name__)

#: Seconds between two looks at what is to be renewed.
_TICK: Final = 1.0


@dataclass(eq=False, slots=True)
class Lease:
    """The right to run a job, for so many seconds unless renewed."""

    key: str
    #: What the mark says; of this run and no other.
    text: str
    seconds: float
    renew_at: float = 0.0
    #: Somebody else has it now, and the job may run twice.
    is_lost: bool = False


class Renewal:
    """Renews the leases of this process, from a thread of its own; safe after a fork.

    A job that holds the interpreter's lock for longer than its lease loses it: no thread runs then.

    Args:
        marks: where leases are kept.
        tick: seconds between two looks.
    """

    def __init__(self, marks: Marks, tick: float = _TICK) -> None:
        self._marks = marks
        self._tick = tick
        self.start_afresh()
        start_afresh_in_child(self)

    def start_afresh(self) -> None:
        """Hold no lease: the parent's thread is not here, its lock may never be released."""
        self._lock = threading.Lock()
        self._held: set[Lease] = set()
        self._thread: threading.Thread | None = None

    def begin(self, lease: Lease) -> None:
        """Renew a lease from now on."""
        lease.renew_at = time.monotonic() + lease.seconds / 3
        with self._lock:
            self._held.add(lease)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="leases", daemon=True)
                self._thread.start()

    def end(self, lease: Lease) -> None:
        """Renew it no more; once this returns, nothing is written for it."""
        with self._lock:
            self._held.discard(lease)

    def _run(self) -> None:
        while True:
            time.sleep(self._tick)
            now = time.monotonic()
            for lease in [one for one in tuple(self._held) if one.renew_at <= now]:
                self._renew(lease, now)

    def _renew(self, lease: Lease, now: float) -> None:
        # The lock is held while Redis is asked: a lease must not be renewed after its end.
        with self._lock:
            if lease not in self._held:
                return
            try:
                # Taken, not extended: a Redis that was restarted has forgotten it.
                other = self._marks.take(lease.key, lease.text, lease.seconds)
            except MarksUnreachable as error:
                log.debug("a lease is not renewed: %s", error)
                return
            if other is None:
                lease.renew_at = now + lease.seconds / 3
                return
            lease.is_lost = True
            self._held.discard(lease)
            log.warning("the lease of %s is lost: the job may run twice", lease.key)
