"""The jobs that were revoked, in memory that the parent writes and all processes read.

A message to each process would not do: one that is busy finds it after the job, one that has just
been forked may begin to consume before it, and more than a socket holds is lost. What stands here
is known to every process from its first moment, and looked at before each job.
"""

from __future__ import annotations

import ctypes
import hashlib
import mmap
from typing import TYPE_CHECKING, Final

from celery.worker.state import REVOKES_MAX

if TYPE_CHECKING:
    from collections.abc import Iterable

#: As many as Celery remembers; where that is without limit (0), its default.
_MOST: Final = REVOKES_MAX or 50_000
_DIGEST_BYTES: Final = 16


class Revoked:
    """Ids of jobs; made before anything forks.

    Args:
        most: how many are remembered, the latest ones; at least 1.
    """

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        memory = mmap.mmap(-1, 8 + most * _DIGEST_BYTES)
        #: How many have ever been added; only the parent writes, an entry before its count.
        self._added = ctypes.c_uint64.from_buffer(memory)
        #: The latest ``most`` of them, in a ring. (Digests: an id may be of any length.)
        self._ring = memoryview(memory)[8:]
        #: What this process has read of them, the latest at the end.
        self._known: dict[bytes, None] = {}
        self._read = 0

    def add(self, task_ids: Iterable[str]) -> None:
        """Let no process begin these jobs any more; to be called by the parent."""
        for task_id in task_ids:
            place = self._place(self._added.value)
            self._ring[place : place + _DIGEST_BYTES] = _digest(task_id)
            self._added.value += 1

    def __contains__(self, task_id: object) -> bool:
        if self._read != self._added.value:
            self._read_on()
        return bool(self._known) and _digest(task_id) in self._known

    def _read_on(self) -> None:
        added = self._added.value
        for number in range(max(self._read, added - self._most), added):
            place = self._place(number)
            digest = bytes(self._ring[place : place + _DIGEST_BYTES])
            # To the end, also where it was there before.
            self._known.pop(digest, None)
            self._known[digest] = None
        while len(self._known) > self._most:
            del self._known[next(iter(self._known))]
        self._read = added

    def _place(self, number: int) -> int:
        return number % self._most * _DIGEST_BYTES


def _digest(task_id: object) -> bytes:
    text = str(task_id).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=_DIGEST_BYTES).digest()
