"""Celery's pool in the parent of a direct group."""

from __future__ import annotations

import logging
import os
import time
from typing import TYPE_CHECKING, Any, Final

from celery.concurrency.base import BasePool
from celery.worker import state as worker_state

from laneway.worker.direct import commands, slots
from laneway.worker.direct.aftermath import Aftermath
from laneway.worker.direct.nursery import Nursery
from laneway.worker.direct.process import JobProcess
from laneway.worker.direct.revoked import Revoked
from laneway.worker.direct.slots import Slots
from laneway.worker.direct.totals import Totals
from laneway.worker.direct.watch import Watch

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from laneway.app import Laneway

log = logging.getLogger(__name__)

#: Where Celery finds this pool.
PLACE: Final = "laneway.worker.direct.pool:DirectPool"
#: Processes that ``celery control pool_grow`` may add.
_SPARE: Final = 64
#: Seconds that the first process gets to begin to consume before the worker is called ready.
_READY: Final = 10.0


class DirectPool(BasePool):
    """Processes that each take their jobs from the broker themselves."""

    #: What ``celery inspect`` and ``control`` ask a direct group otherwise than Celery's pools.
    commands = commands.COMMANDS

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        #: How many processes belong to the group.
        self.limit: int = args[0] if args else options["limit"]
        app, hostname = self.options["initargs"]
        self.app: Laneway = app
        self.hostname: str = hostname
        self.watch: Watch | None = None
        self._nursery: Nursery | None = None
        self.slots = Slots(self.limit + _SPARE)
        #: What has begun, by task; the tasks that are known before anything forks.
        self.totals = Totals(len(self.slots), app.tasks)
        #: The jobs that no process is to begin.
        self.revoked = Revoked()
        assert app.serving is not None
        self._queue = app.serving
        #: What becomes of jobs whose process is gone.
        self.aftermath = Aftermath(app, self._queue, hostname)
        self._pid = os.getpid()

    # -- Celery's hooks ----------------------------------------------------------------------

    def on_start(self) -> None:
        """Fork the nursery, before this process has a thread, and through it the processes."""
        # (What Celery's ``--statedb`` kept of another run.)
        self.revoked.add(worker_state.revoked)
        self._nursery = Nursery(self._live)
        self.watch = Watch(self._nursery, self.slots, self.aftermath)
        self.watch.start(self.limit)

    def on_stop(self) -> None:
        """Let every process finish its job, and end; in a cold shutdown, stop every job."""
        if worker_state.should_terminate:
            self.on_terminate()
        else:
            self._end(lambda watch: watch.leave())

    def on_terminate(self) -> None:
        """Stop every job; the broker gives them to another worker."""
        self._end(lambda watch: watch.kill())

    def _end(self, how: Callable[[Watch], None]) -> None:
        watch = self.watch
        if watch is None:
            return
        how(watch)
        # A cold shutdown may have come, and ended everything, while a warm one waited.
        nursery, self.watch, self._nursery = self._nursery, None, None
        if nursery is not None:
            watch.close()
            nursery.close()

    def grow(self, n: int = 1) -> None:
        """Add processes (``celery control pool_grow``)."""
        self._resize(self.limit + n)

    def shrink(self, n: int = 1) -> None:
        """Take processes away when their job ends (``celery control pool_shrink``)."""
        self._resize(self.limit - n)

    def _resize(self, number: int) -> None:
        if not 1 <= number <= len(self.slots):
            raise ValueError(f"expected 1 to {len(self.slots)} processes, got: {number}")
        self.limit = number
        if self.watch is not None:
            self.watch.resize(number)

    def _get_info(self) -> dict[str, Any]:
        watch = self.watch
        members = watch.members if watch is not None else []
        return {
            **super()._get_info(),
            "processes": [member.pid for member in members if member.pid],
            "max-tasks-per-child": self.options.get("maxtasksperchild") or "N/A",
            "jobs": sum(member.slot.done for member in members),
        }

    # -- the group ---------------------------------------------------------------------------

    @property
    def consuming(self) -> bool:
        """Whether the processes are to take jobs."""
        return self.watch is not None and self.watch.consuming

    @property
    def ready(self) -> bool:
        """Whether a process takes jobs; where none is to take any, whether one is connected."""
        states = {slot.state for slot in self.slots}
        return slots.CONSUMING in states or (not self.consuming and slots.CONNECTED in states)

    def standing_still(self, now: float, seconds: float) -> list[str]:
        """The processes that have not come round for ``seconds``, a line each.

        One that runs a job is left to the job's time limit: it may hold the interpreter's lock.
        """
        watch = self.watch
        return [
            f"process {member.pid} has not come round for {now - member.slot.main_at:.0f} s"
            for member in (watch.members if watch is not None else ())
            if member.pid
            and member.slot.main_at
            and not member.slot.running
            and now - member.slot.main_at > seconds
        ]

    def consume(self) -> None:
        """Take jobs from now on; waits a little for the first process to do so."""
        watch = self.watch
        if watch is None or watch.consuming:
            return
        watch.order(slots.CONSUME)
        until = time.monotonic() + _READY
        while time.monotonic() < until:
            if any(member.slot.state == slots.CONSUMING for member in watch.members):
                return
            time.sleep(0.01)

    def halt(self) -> None:
        """Take no more jobs; what runs goes on."""
        if self.watch is not None:
            self.watch.order(slots.HALT)

    def send_events(self, on: bool) -> None:
        """Let the processes send task events from now on, or no more."""
        if self.watch is not None:
            self.watch.send_events(on)

    @property
    def running(self) -> int:
        """How many jobs run now."""
        return sum(slot.running for slot in self.slots)

    def _live(self, index: int, parent: socket.socket) -> None:
        JobProcess(
            self.app,
            self._queue,
            self.hostname,
            self.slots[index],
            parent,
            totals=self.totals[index],
            revoked=self.revoked,
            worker_pid=self._pid,
            max_jobs=self.options.get("maxtasksperchild"),
            max_memory=self.options.get("max_memory_per_child"),
        ).run()
