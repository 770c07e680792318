"""The parent's eyes on its processes: who died, who runs too long, who is to be replaced.

A thread of its own: limits hold also while the parent reconnects to the broker or answers an
operator. What needs the result backend or the broker (storing a failure, settling what a process
left) happens in another thread, so that a slow answer never delays the next limit.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from laneway.worker.direct import slots
from laneway.worker.direct.estate import Estate

if TYPE_CHECKING:
    from collections.abc import Callable

    from laneway.worker.direct.nursery import Nursery
    from laneway.worker.direct.slots import Slot, Slots

    #: What is to be done about a job that was ended: the end, the process's leftovers.
    Aftermath = Callable[["Ended", Estate], None]

log = logging.getLogger(__name__)

#: Seconds between two looks at the limits.
_LOOK: Final = 0.05
#: Seconds that a process gets to stop when it is told SIGSTOP.
_STOP: Final = 1.0
#: A process that ends within so many seconds, and before its first job, failed to start.
_TOO_SOON: Final = 1.0
_LONGEST_PAUSE: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A job whose process was ended, or ended by itself, while it ran."""

    #: ``limit`` (hard time limit), ``lost`` (the process died) or ``revoked``.
    why: str
    task_id: str
    task: str
    #: Seconds that it had run.
    ran: float
    #: Its hard limit in seconds; 0 is none.
    limit: float
    pid: int
    #: Exit status of the process; negative is a signal's number.
    status: int = 0
    #: What ``task.request`` held, if the process could report it.
    request: dict[str, Any] | None = None


class Member:
    """One place in the group, and the process that fills it now."""

    def __init__(self, index: int, slot: Slot) -> None:
        self.index = index
        self.slot = slot
        #: Whether a process belongs here.
        self.wanted = False
        self.pid = 0
        self.socket: socket.socket | None = None
        self.connection: socket.socket | None = None
        self.report: dict[str, Any] | None = None
        self.born_at = 0.0
        self.fork_at = 0.0
        self.failures = 0
        self.soft_told = 0
        self.ended_by_us = False
        self._pidfd = -1

    @property
    def present(self) -> bool:
        """Whether a process is there, or on its way."""
        return self.socket is not None

    def arrived(self, pid: int) -> None:
        """The process was forked."""
        self.pid, self.born_at = pid, time.monotonic()
        with contextlib.suppress(ProcessLookupError):
            self._pidfd = os.pidfd_open(pid)

    def signal(self, number: int) -> None:
        """Send a signal, to this process and never to one that got its number later."""
        if self._pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def order(self, order: int) -> None:
        """Give an order and wake the process."""
        self.slot.order = order
        if self.socket is not None:
            # (Where it does not fit, the process has not yet read what wakes it.)
            with contextlib.suppress(OSError):
                self.socket.send(b".")
            self.slot.said += 1

    def gone(self) -> None:
        """The process has ended."""
        for descriptor in (self.socket, self.connection):
            if descriptor is not None:
                descriptor.close()
        if self._pidfd >= 0:
            os.close(self._pidfd)
        self.socket = self.connection = self.report = None
        self._pidfd, self.pid, self.ended_by_us = -1, 0, False


class Watch:
    """Keeps the wanted processes alive, and each job within its limits.

    Args:
        nursery: forks processes.
        records: one for each possible process.
        aftermath: called, in a thread of its own, for each job that was ended with its process.
    """

    def __init__(self, nursery: Nursery, records: Slots, aftermath: Aftermath) -> None:
        self._nursery = nursery
        self._aftermath = aftermath
        self.members = [Member(index, records[index]) for index in range(len(records))]
        self._order = slots.HALT
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._stop = threading.Event()
        self._after = ThreadPoolExecutor(1, thread_name_prefix="aftermath")
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
                    return self._end(member, turn, "revoked")
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
                if member.present and member.pid and not member.ended_by_us:
                    self._freeze(member)
                    member.ended_by_us = True
                    left = self._take_over(member)
                    member.signal(signal.SIGKILL)
                    self._after.submit(left.give_back)
            until = time.monotonic() + _STOP
            while any(m.present for m in self.members) and time.monotonic() < until:
                self._changed.wait(0.1)

    def close(self) -> None:
        """Stop watching; what is still to be settled is settled first."""
        self._stop.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(5)
        self._after.shutdown(wait=True)
        for member in self.members:
            member.gone()

    # -- the thread --------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stop.is_set():
            poll = select.poll()
            poll.register(self._nursery.socket, select.POLLIN)
            with self._lock:
                sockets = [m.socket for m in self.members if m.socket is not None]
            for one in sockets:
                with contextlib.suppress(ValueError):
                    poll.register(one, select.POLLIN)
            poll.poll(_LOOK * 1000)
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

    def _look(self, now: float) -> None:
        for member in self.members:
            if member.present:
                self._listen(member)
        for index, pid, status in self._nursery.news():
            member = self.members[index]
            if status is None:
                member.arrived(pid)
            else:
                self._listen(member)
                self._bury(member, status, now)
        for member in self.members:
            if member.present and member.pid and not member.ended_by_us:
                self._keep_limits(member, now)
        self._fork_missing(now)

    def _listen(self, member: Member) -> None:
        assert member.socket is not None
        with contextlib.suppress(OSError):
            while True:
                data, descriptors, _, _ = socket.recv_fds(member.socket, 1024 * 1024, 1)
                if not data:
                    return
                news = json.loads(data)
                if "connected" in news or "closed" in news:
                    if member.connection is not None:
                        member.connection.close()
                    member.connection = (
                        socket.socket(fileno=descriptors[0]) if descriptors else None
                    )
                elif "turn" in news:
                    member.report = news

    def _fork_missing(self, now: float) -> None:
        for member in self.members:
            if member.wanted and not member.present and now >= member.fork_at:
                member.slot.clear()
                member.slot.order = self._order
                member.socket = self._nursery.fork(member.index)

    def _bury(self, member: Member, status: int, now: float) -> None:
        slot = member.slot
        if not member.ended_by_us:
            running = slot.running
            left = self._take_over(member)
            if running and left.tag:
                self._submit(self._ended(member, "lost", status), left)
            else:
                self._after.submit(left.settle, None)
        if status and not slot.turn and now - member.born_at < _TOO_SOON:
            member.failures += 1
            pause = min(0.2 * 2**member.failures, _LONGEST_PAUSE)
            log.error(
                "process %s ended at its start (%s); the next in %g s", member.pid, status, pause
            )
            member.fork_at = now + pause
        else:
            member.failures, member.fork_at = 0, now
        slot.state = slots.ABSENT
        member.gone()
        self._changed.notify_all()

    def _bury_all(self) -> None:
        """The nursery is gone, and with it all its processes."""
        with self._lock:
            for member in self.members:
                member.wanted = False
                if member.present:
                    self._bury(member, -signal.SIGKILL, time.monotonic())

    # -- limits ------------------------------------------------------------------------------

    def _keep_limits(self, member: Member, now: float) -> None:
        slot = member.slot
        turn = slot.turn
        if not turn & 1:
            return
        if slot.soft_deadline and now >= slot.soft_deadline and member.soft_told != turn:
            member.soft_told = turn
            member.signal(signal.SIGUSR1)
        if slot.hard_deadline and now >= slot.hard_deadline:
            self._end(member, turn, "limit")

    def _end(self, member: Member, turn: int, why: str) -> bool:
        """End the process, unless its job has ended meanwhile."""
        self._freeze(member)
        # It settles the job itself, or is in the middle of a frame: let it go on for a moment.
        if member.slot.turn != turn or member.slot.writing:
            member.signal(signal.SIGCONT)
            return False
        ended = self._ended(member, why, -signal.SIGKILL)
        left = self._take_over(member)
        member.ended_by_us = True
        member.signal(signal.SIGKILL)
        self._submit(ended, left)
        return True

    def _freeze(self, member: Member) -> None:
        member.signal(signal.SIGSTOP)
        until = time.monotonic() + _STOP
        while time.monotonic() < until and not _is_stopped(member.pid):
            time.sleep(0.001)

    def _take_over(self, member: Member) -> Estate:
        connection, member.connection = member.connection, None
        return Estate.of(member.slot, connection)

    def _ended(self, member: Member, why: str, status: int) -> Ended:
        slot, report = member.slot, member.report
        now = time.monotonic()
        return Ended(
            why=why,
            task_id=slot.task_id.decode("utf-8", "replace"),
            task=slot.task.decode("utf-8", "replace"),
            ran=now - slot.began,
            limit=slot.hard_deadline - slot.began if slot.hard_deadline else 0.0,
            pid=member.pid,
            status=status,
            request=report["request"] if report and report["turn"] == slot.turn else None,
        )

    def _submit(self, ended: Ended, left: Estate) -> None:
        with contextlib.suppress(RuntimeError):
            self._after.submit(self._aftermath, ended, left)


def _is_stopped(pid: int) -> bool:
    """Whether the process is stopped, or gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 (a hundred times a second)
            return file.read().rpartition(b")")[2].split()[0] in b"TtZX"
    except OSError:
        return True
