"""One module a system: the same three jobs and three ways to publish them.

Each module has the functions of :class:`bench.agent.App`, and what the system's own worker command
is pointed at. They read ``BENCH_BROKER_URL`` and ``BENCH_LEDGER`` (Laneway its own variables).
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: The queues that every system has.
QUEUES = ("default", "high", "low")
#: If this variable is set, every hundredth no-op fails; only Laneway's app reads it.
DECLINING = "BENCH_DECLINING"


class NotOffered(Exception):
    """The system has no such thing; the message says what."""


class Shared:
    """An iterator that several threads may advance."""

    def __init__(self, jobs: Iterator[int]) -> None:
        self._jobs = jobs
        self._lock = threading.Lock()

    def __iter__(self) -> Shared:
        return self

    def __next__(self) -> int:
        with self._lock:
            return next(self._jobs)


def in_threads(number: int, publish: Callable[[Shared], None], jobs: Iterator[int]) -> None:
    """Publish from several threads that share the jobs.

    Raises:
        Exception: the first that a thread raised.
    """
    shared = Shared(jobs)
    with ThreadPoolExecutor(number) as threads:
        for future in [threads.submit(publish, shared) for _ in range(number)]:
            future.result()
