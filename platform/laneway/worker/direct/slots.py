"""What the parent knows of its processes: one record for each, in memory that all of them share.

A process writes its own record and nobody else's; the parent reads, and writes the orders. A record
is never locked: ``turn`` is odd while a job runs and changes with each job, so that who reads it
before and after knows whether the rest belongs together.
"""

from __future__ import annotations

import ctypes
import mmap
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

#: States of a process.
ABSENT: Final = 0
STARTING: Final = 1
CONNECTED: Final = 2
CONSUMING: Final = 3
LEAVING: Final = 4

#: Orders of the parent.
HALT: Final = 0
CONSUME: Final = 1
LEAVE: Final = 2

_ID_BYTES: Final = 256


class Slot(ctypes.Structure):
    """One process. Times are those of ``time.monotonic``, which all processes of a host share."""

    _fields_ = (
        ("pid", ctypes.c_int64),
        # what it is to do: one of the orders above (written by the parent)
        ("order", ctypes.c_uint8),
        ("state", ctypes.c_uint8),
        # how often the parent has said something (written by the parent)
        ("said", ctypes.c_uint32),
        # 1 if it is to send task events (written by the parent)
        ("events", ctypes.c_uint8),
        # 1 while bytes are on their way to the broker: nobody else may write to the connection
        ("writing", ctypes.c_uint8),
        # the message that runs was delivered before
        ("redelivered", ctypes.c_uint8),
        # odd while a job runs; changes with each job
        ("turn", ctypes.c_uint64),
        ("channel", ctypes.c_uint16),
        ("consumer_tag", ctypes.c_char * _ID_BYTES),
        # the delivery that runs; everything up to `finished` has ended well, up to `settled` the
        # broker was told so
        ("tag", ctypes.c_uint64),
        ("finished", ctypes.c_uint64),
        ("settled", ctypes.c_uint64),
        ("began", ctypes.c_double),
        # when the limits of the job that runs are over; 0 is never
        ("soft_deadline", ctypes.c_double),
        ("hard_deadline", ctypes.c_double),
        ("task_id", ctypes.c_char * _ID_BYTES),
        ("task", ctypes.c_char * _ID_BYTES),
        # the last time that its main loop came round
        ("main_at", ctypes.c_double),
        # numbers for metrics
        ("done", ctypes.c_uint64),
        ("busy_seconds", ctypes.c_double),
        ("held", ctypes.c_uint32),
        ("prefetch", ctypes.c_uint32),
        ("expected_runtime", ctypes.c_double),
    )

    pid: int
    order: int
    state: int
    said: int
    events: int
    writing: int
    redelivered: int
    turn: int
    channel: int
    consumer_tag: bytes
    tag: int
    finished: int
    settled: int
    began: float
    soft_deadline: float
    hard_deadline: float
    task_id: bytes
    task: bytes
    main_at: float
    done: int
    busy_seconds: float
    held: int
    prefetch: int
    expected_runtime: float

    @property
    def running(self) -> bool:
        """Whether a job runs now."""
        return bool(self.turn & 1)

    def begin(
        self, tag: int, task_id: str, task: str, *, redelivered: bool, hard: float, soft: float
    ) -> None:
        """Note the job that runs from now on; limits in seconds, 0 is none."""
        now = time.monotonic()
        self.tag = tag
        self.task_id = task_id.encode("utf-8", "replace")[: _ID_BYTES - 1]
        self.task = task.encode("utf-8", "replace")[: _ID_BYTES - 1]
        self.redelivered = redelivered
        self.began = now
        self.soft_deadline = now + soft if soft else 0.0
        self.hard_deadline = now + hard if hard else 0.0
        self.turn += 1

    def end(self) -> float:
        """Note that the job has ended; the seconds it took."""
        took = time.monotonic() - self.began
        self.turn += 1
        self.done += 1
        self.busy_seconds += took
        return took

    def clear(self) -> None:
        """Make ready for another process; what was counted and what is wanted stays."""
        kept = self.done, self.busy_seconds, self.events
        ctypes.memset(ctypes.byref(self), 0, ctypes.sizeof(self))
        self.done, self.busy_seconds, self.events = kept


class Slots:
    """The records of a group; made before anything forks.

    Args:
        number: how many processes the group may have at most.
    """

    def __init__(self, number: int) -> None:
        size = ctypes.sizeof(Slot)
        self._memory = mmap.mmap(-1, number * size)
        self._slots = [Slot.from_buffer(self._memory, index * size) for index in range(number)]

    def __len__(self) -> int:
        return len(self._slots)

    def __iter__(self) -> Iterator[Slot]:
        return iter(self._slots)

    def __getitem__(self, index: int) -> Slot:
        return self._slots[index]
