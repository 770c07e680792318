"""The parent's eyes on its processes: who died, who runs too long, who is to be replaced.

A thread of its own: limits hold also while the parent reconnects to the broker or answers an
operator.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import threading
import time
from typing import TYPE_CHECKING, Final

from laneway.worker.direct import slots
from laneway.worker.direct.member import Member

if TYPE_CHECKING:
    from laneway.worker.direct.aftermath import Aftermath
    from laneway.worker.direct.nursery import Nursery
    from laneway.worker.direct.slots import Slots

log = logging.getLogger(__name__)

#: Seconds between two looks at the limits.
_LOOK: Final = 0.05
#: Seconds that killed processes get to be gone.
_GONE: Final = 1.0


class Watch:
    """Keeps the wanted processes alive, and each job within its limits.

    Args:
        nursery: forks processes.
        records: one for each possible process.
        aftermath: what becomes of jobs whose process is gone.
    """

    def __init__(self, nursery: Nursery, records: Slots, aftermath: Aftermath) -> None:
        self._nursery = nursery
        self._aftermath = aftermath
        self.members = [Member(index, records[index]) for index in range(len(records))]
        self._order = slots.HALT
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    # -- orders, from any thread -------------------------------------------------------------

    def start(self, number: int) -> None:
        """Begin to watch, with ``number`` processes."""
        self.resize(number)
        self._thread.start()

    def resize(self, number: int) -> None:
        """From now on ``number`` processes; those too many leave when their job ends."""
        with self._lock:
            for member in self.members:
                member.wanted = member.index < number
                if not member.wanted and member.present:
                    member.order(slots.LEAVE)
            self._fork_missing(time.monotonic())

    def order(self, order: int) -> None:
        """Give all processes an order, and those that come later."""
        with self._lock:
            self._order = order
            for member in self.members:
                if member.present and member.slot.order != slots.LEAVE:
                    member.order(order)

    def send_events(self, on: bool) -> None:
        """Let all processes, and those that come later, send task events; or no more."""
        with self._lock:
            for member in self.members:
                member.slot.events = on

    @property
    def consuming(self) -> bool:
        """Whether the processes are to take jobs."""
        return self._order == slots.CONSUME

    def end_job(self, task_id: str) -> bool:
        """Kill the process that runs this job; False if none does."""
        with self._lock:
            for member in self.members:
                slot = member.slot
                turn = slot.turn
                if member.present and turn & 1 and slot.task_id == task_id.encode():
                    ended = member.end_job(turn, "revoked")
                    if ended is not None:
                        self._aftermath.conclude(*ended)
                    return ended is not None
        return False

    def leave(self) -> None:
        """Order all to leave when their job ends, and wait until they are gone."""
        with self._lock:
            for member in self.members:
                member.wanted = False
            self.order(slots.LEAVE)
            while any(member.present for member in self.members):
                self._changed.wait(0.5)

    def kill(self) -> None:
        """End all processes now; the broker gets back what they run."""
        with self._lock:
            for member in self.members:
                member.wanted = False
                left = member.kill()
                if left is not None:
                    self._aftermath.give_back(left)
            until = time.monotonic() + _GONE
            while any(m.present for m in self.members) and time.monotonic() < until:
                self._changed.wait(0.1)

    def close(self) -> None:
        """Stop watching; what is still to be settled is settled first."""
        self._stop.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(5)
        self._aftermath.close()
        for member in self.members:
            member.close()

    # -- the thread --------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wait_for_news()
            try:
                with self._lock:
                    self._look(time.monotonic())
            except ConnectionError as error:
                log.critical("%s: this worker ends", error)
                self._bury_all()
                os.kill(os.getpid(), signal.SIGTERM)
                return
            except Exception:
                log.exception("the watch of the processes stumbled")

    def _wait_for_news(self) -> None:
        """Sleep until a process or the nursery says something, or the limits want a look."""
        poll = select.poll()
        poll.register(self._nursery.socket, select.POLLIN)
        with self._lock:
            sockets = [m.socket for m in self.members if m.socket is not None]
        for one in sockets:
            with contextlib.suppress(ValueError):
                poll.register(one, select.POLLIN)
        poll.poll(_LOOK * 1000)

    def _look(self, now: float) -> None:
        for member in self.members:
            if member.present:
                member.listen()
        for index, pid, status in self._nursery.news():
            member = self.members[index]
            if status is None:
                member.arrived(pid)
            else:
                member.listen()
                self._bury(member, status, now)
        for member in self.members:
            if ended := member.keep_limits(now):
                self._aftermath.conclude(*ended)
        self._fork_missing(now)

    def _fork_missing(self, now: float) -> None:
        for member in self.members:
            if member.missing(now):
                member.fork(self._nursery, self._order)

    def _bury(self, member: Member, status: int, now: float) -> None:
        if not member.killed:
            ended, left = member.died(status)
            if ended is not None:
                self._aftermath.conclude(ended, left)
            else:
                self._aftermath.settle(left)
        member.gone(status, now)
        self._changed.notify_all()

    def _bury_all(self) -> None:
        """The nursery is gone, and with it all its processes."""
        with self._lock:
            for member in self.members:
                member.wanted = False
                if member.present:
                    self._bury(member, -signal.SIGKILL, time.monotonic())
