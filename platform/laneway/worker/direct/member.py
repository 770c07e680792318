"""One place in a direct group, and the process that fills it now."""

from __future__ import annotations

import contextlib
import json
import logging
import signal
import socket
import time
from typing import TYPE_CHECKING, Any, Final

from laneway.retry.backoff import Backoff
from laneway.worker.direct import slots
from laneway.worker.direct.ended import Ended, Why
from laneway.worker.direct.estate import Estate
from laneway.worker.direct.pidfd import Pidfd

if TYPE_CHECKING:
    from laneway.worker.direct.nursery import Nursery
    from laneway.worker.direct.slots import Slot

log = logging.getLogger(__name__)

#: A process that ends within so many seconds, and before its first job, failed to start.
_TOO_SOON: Final = 1.0
#: Before the next one then.
_PAUSE: Final = Backoff(0.2, 30.0)


class Member:
    """What the parent knows of the process in this place, and does to it.

    Args:
        index: the place.
        slot: the record that parent and process share.
    """

    def __init__(self, index: int, slot: Slot) -> None:
        self.index = index
        self.slot = slot
        #: Whether a process belongs here.
        self.wanted = False
        #: Whether the process was killed from here: what it left is cared for.
        self.killed = False
        self.socket: socket.socket | None = None
        self._process: Pidfd | None = None
        #: A duplicate of the process's connection to the broker, while it lends one.
        self._connection: socket.socket | None = None
        self._report: dict[str, Any] | None = None
        self._born_at = 0.0
        #: When the next process may be forked here.
        self._fork_at = 0.0
        #: How many processes in a row have failed to start.
        self._failures = 0
        #: The turn whose job was told of its soft limit.
        self._soft_told = 0

    @property
    def present(self) -> bool:
        """Whether a process is there, or on its way."""
        return self.socket is not None

    @property
    def pid(self) -> int:
        """The process; 0 while none is there."""
        return self._process.pid if self._process is not None else 0

    @property
    def request(self) -> dict[str, Any] | None:
        """What ``task.request`` of the job that runs holds; None if it was not reported."""
        report = self._report
        return report["request"] if report and report["turn"] == self.slot.turn else None

    # -- coming ------------------------------------------------------------------------------

    def missing(self, now: float) -> bool:
        """Whether a process is to be forked here now."""
        return self.wanted and not self.present and now >= self._fork_at

    def fork(self, nursery: Nursery, order: int) -> None:
        """Let a process come, which finds its first order in its record."""
        self.slot.clear()
        self.slot.order = order
        self.socket = nursery.fork(self.index)

    def arrived(self, pid: int) -> None:
        """The process was forked."""
        self._process, self._born_at = Pidfd(pid), time.monotonic()

    # -- what both say -----------------------------------------------------------------------

    def order(self, order: int) -> None:
        """Give an order and wake the process."""
        self.slot.order = order
        if self.socket is not None:
            # (Where it does not fit, the process has not yet read what wakes it.)
            with contextlib.suppress(OSError):
                self.socket.send(b".")
            self.slot.said += 1

    def listen(self) -> None:
        """Take in what the process has told."""
        assert self.socket is not None
        with contextlib.suppress(OSError):
            while True:
                data, descriptors, _, _ = socket.recv_fds(self.socket, 1024 * 1024, 1)
                if not data:
                    return
                news = json.loads(data)
                if "connected" in news or "closed" in news:
                    if self._connection is not None:
                        self._connection.close()
                    self._connection = socket.socket(fileno=descriptors[0]) if descriptors else None
                elif "turn" in news:
                    self._report = news

    # -- limits and ends ---------------------------------------------------------------------

    def keep_limits(self, now: float) -> tuple[Ended, Estate] | None:
        """Tell the job of its soft limit, end it at the hard one; what is left of it then."""
        slot, process = self.slot, self._process
        turn = slot.turn
        if process is None or self.killed or not turn & 1:
            return None
        if slot.soft_deadline and now >= slot.soft_deadline and self._soft_told != turn:
            self._soft_told = turn
            process.signal(signal.SIGUSR1)
        if slot.hard_deadline and now >= slot.hard_deadline:
            return self.end_job(turn, "limit")
        return None

    def end_job(self, turn: int, why: Why) -> tuple[Ended, Estate] | None:
        """End the process and with it the job of this turn; None if that has ended meanwhile."""
        if self._process is None or self.killed:
            return None
        self._process.freeze()
        # It settles the job itself, or is in the middle of a frame: let it go on for a moment.
        if self.slot.turn != turn or self.slot.writing:
            self._process.signal(signal.SIGCONT)
            return None
        ended = self._ended(why, -signal.SIGKILL)
        return ended, self._kill(self._process)

    def kill(self) -> Estate | None:
        """End the process, whatever it does; what it leaves, None if none is there to be ended."""
        if self._process is None or self.killed:
            return None
        self._process.freeze()
        return self._kill(self._process)

    def _kill(self, process: Pidfd) -> Estate:
        self.killed = True
        left = self._take_over()
        process.signal(signal.SIGKILL)
        return left

    def died(self, status: int) -> tuple[Ended | None, Estate]:
        """The process has ended by itself: the job that it ran, if any, and what it leaves."""
        running = self.slot.running
        left = self._take_over()
        return (self._ended("lost", status) if running and left.tag else None), left

    def gone(self, status: int, now: float) -> None:
        """The process has ended, and what it left is taken over: make room for the next."""
        if status and not self.slot.turn and now - self._born_at < _TOO_SOON:
            self._failures += 1
            pause = _PAUSE.bound(self._failures)
            log.error(
                "process %s ended at its start (%s); the next in %g s", self.pid, status, pause
            )
            self._fork_at = now + pause
        else:
            self._failures, self._fork_at = 0, now
        self.slot.state = slots.ABSENT
        self.close()

    def close(self) -> None:
        """Let go of the process."""
        for held in (self.socket, self._connection, self._process):
            if held is not None:
                held.close()
        self.socket = self._connection = self._process = self._report = None
        self.killed = False

    def _take_over(self) -> Estate:
        connection, self._connection = self._connection, None
        return Estate.of(self.slot, connection)

    def _ended(self, why: Why, status: int) -> Ended:
        slot = self.slot
        return Ended(
            why=why,
            task_id=slot.task_id.decode("utf-8", "replace"),
            task=slot.task.decode("utf-8", "replace"),
            ran=time.monotonic() - slot.began,
            limit=slot.hard_deadline - slot.began if slot.hard_deadline else 0.0,
            pid=self.pid,
            status=status,
            request=self.request,
        )
