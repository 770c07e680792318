"""The ledger: what producers and jobs did, written outside the broker as it happens."""

from __future__ import annotations

import os
import struct
import time
from enum import IntEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from bench.ledger import Records, read_records

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: The variable that names the folder.
VARIABLE: Final = "CHAOS_LEDGER"
#: The queues, by their numbers in the ledger.
QUEUES: Final = ("default", "high", "low")
#: Job, time, what, detail, queue, priority.
_SHAPE: Final = struct.Struct("<QdBBBB")


class What(IntEnum):
    """What a record says."""

    #: A job's code began. The detail is its attempt: 0, and one more for each retry.
    STARTED = 1
    #: It ended well.
    ENDED = 2
    #: It ended so that it is to be tried again.
    RETRIED = 3
    #: It ended in its last failure.
    FAILED = 4
    #: A producer is about to publish a job. The detail is the kind of its call.
    SENDING = 10
    #: The call returned.
    ACCEPTED = 11
    #: It raised, and said that the job was certainly not accepted.
    REFUSED = 12
    #: It raised, and the job may have been accepted. (SENDING alone means the same.)
    MAYBE = 13


class Entry(NamedTuple):
    """One record."""

    job: int
    #: Seconds of the machine's monotonic clock, the same for all processes.
    at: float
    what: int
    detail: int
    #: A place in :data:`QUEUES`.
    queue: int
    priority: int


class Ledger:
    """The writing side; the folder is that of :data:`VARIABLE` if none is given."""

    def __init__(self, folder: str | Path | None = None) -> None:
        self._records = Records(folder or os.environ.get(VARIABLE, "."), _SHAPE)

    def note(
        self, what: What, job: int, *, detail: int = 0, queue: int = 0, priority: int = 0
    ) -> None:
        """Write that this happens now."""
        self._records.append(job, time.monotonic(), what, detail, queue, priority)


def read(folder: Path, since: float = 0.0) -> Iterator[Entry]:
    """Every record; those of one process in their order.

    Args:
        folder: it.
        since: processes that last wrote before this time (since 1970) are left out.
    """
    return (Entry(*values) for values in read_records(folder, _SHAPE, since))


def size(folder: Path) -> int:
    """Bytes that stand in the ledger now: it grows with every record."""
    return sum(file.stat().st_size for file in folder.iterdir())
