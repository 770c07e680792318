"""Which jobs started, and when: written by the jobs of every system, read by the harness.

A job's first act is one ``write`` of 16 bytes to a file that is its process's own and open for
appending: no lock, nothing to flush, nothing lost when the process is killed. It costs one to three
microseconds (the report says how many), the same for every system. The folder is in memory
(``/dev/shm``) where there is one, so that it does not share a disk with the broker.
"""

from __future__ import annotations

import os
import struct
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

#: The variable that names the folder to the processes that run jobs.
VARIABLE: Final = "BENCH_LEDGER"
#: The number of the job, and when it started: seconds of the machine's monotonic clock.
_RECORD: Final = struct.Struct("<Qd")


class Records:
    """Records of one shape, appended by one process and what it forks; safe in threads.

    Each process has a file of its own, and a record is one ``write``: it is there whole or not at
    all, also when the process is killed. (What a machine that loses its power still had to write is
    lost.)

    Args:
        folder: it must exist.
        shape: of a record.
    """

    def __init__(self, folder: str | Path, shape: struct.Struct) -> None:
        self._folder = Path(folder)
        self._shape = shape
        self._pid = 0
        self._file = -1

    def append(self, *values: Any) -> None:
        """Write one record."""
        if self._pid != os.getpid():
            self._open()
        os.write(self._file, self._shape.pack(*values))

    def _open(self) -> None:
        pid = os.getpid()
        self._file = os.open(self._folder / str(pid), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._pid = pid


def read_records(
    folder: Path, shape: struct.Struct, since: float = 0.0
) -> Iterator[tuple[Any, ...]]:
    """Every record that :class:`Records` wrote into a folder; those of one process in order.

    Args:
        folder: it.
        shape: of a record.
        since: files that were last written before this time (since 1970) are left out.
    """
    for file in folder.iterdir():
        if file.stat().st_mtime < since:
            continue
        data = file.read_bytes()
        yield from shape.iter_unpack(data[: len(data) - len(data) % shape.size])


class Ledger(Records):
    """The starts of jobs: the writing side."""

    def __init__(self, folder: str | Path) -> None:
        super().__init__(folder, _RECORD)

    def started(self, job: int) -> None:
        """Note that a job starts now."""
        self.append(job, time.monotonic())


class Starts:
    """The reading side.

    Args:
        folder: what :class:`Ledger` writes into; it must exist.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def count(self) -> int:
        """How many jobs started; costs one look at each process's file."""
        return sum(file.stat().st_size for file in self._folder.iterdir()) // _RECORD.size

    def read(self) -> Iterator[tuple[int, float]]:
        """Every start: the job and when."""
        return ((job, when) for job, when in read_records(self._folder, _RECORD))


def ledger_folder(otherwise: Path) -> tempfile.TemporaryDirectory[str]:
    """A folder for ledgers, in memory or else in ``otherwise``; a context manager removes it."""
    memory = Path("/dev/shm")  # noqa: S108 (a folder of a random name is made in it)
    place = memory if os.access(memory, os.W_OK) else otherwise
    return tempfile.TemporaryDirectory(prefix="laneway-bench-", dir=place)


def cost_of_a_start(folder: Path, tries: int = 20_000) -> float:
    """Seconds that noting one start takes here, the median of three rounds."""
    ledger = Ledger(folder)
    rounds = []
    for _ in range(3):
        began = time.perf_counter()
        for job in range(tries):
            ledger.started(job)
        rounds.append((time.perf_counter() - began) / tries)
    (folder / str(os.getpid())).unlink()
    return sorted(rounds)[1]
