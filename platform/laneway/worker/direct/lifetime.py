"""How long a process lives: as many jobs, or as much memory, as the queue's file allows."""

from __future__ import annotations

import resource


class Lifetime:
    """Jobs and memory of this process.

    Args:
        max_jobs: jobs after which it is over; None is never.
        max_memory: KiB of resident memory after which it is over; None is never.
    """

    def __init__(self, max_jobs: int | None, max_memory: int | None) -> None:
        self._max_jobs = max_jobs
        self._max_memory = max_memory
        self._jobs = 0
        #: Whether the process is to leave.
        self.over = False

    def note_job(self) -> None:
        """A job has ended."""
        self._jobs += 1
        if self._max_jobs and self._jobs >= self._max_jobs:
            self.over = True
        elif self._max_memory:
            used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            self.over = used > self._max_memory
