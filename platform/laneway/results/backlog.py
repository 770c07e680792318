"""What is still to be written about jobs that have ended, in the order in which they did."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Write:
    """Something to be written about a job."""

    #: What it is; a later one of the same kind replaces it.
    kind: str
    #: Writes it; raises if it could not.
    write: Callable[[], object]
    #: Bytes that it keeps in memory.
    size: int = 0
    #: Seconds to wait before the next try of what may have happened in part.
    rest: float = 0.0


@dataclass(slots=True)
class Waiting:
    """A job about which something is to be written."""

    task_id: str
    task: str | None
    since: float
    #: By kind, in the order in which they are written.
    writes: dict[str, Write] = field(default_factory=dict)
    not_before: float = 0.0

    @property
    def size(self) -> int:
        """Bytes that it keeps in memory."""
        return sum(write.size for write in self.writes.values())


class Backlog:
    """Jobs that wait, and the one at hand. Whoever has it sees to its lock.

    Args:
        most: jobs that may wait.
        most_bytes: bytes that their results may take.
        longest: seconds that one may wait.
    """

    def __init__(self, most: int, most_bytes: int, longest: float) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._longest = longest
        self._jobs: OrderedDict[str, Waiting] = OrderedDict()
        #: The job that is being written.
        self.at_hand: Waiting | None = None
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._jobs) + (self.at_hand is not None)

    def __contains__(self, task_id: object) -> bool:
        at_hand = self.at_hand
        return task_id in self._jobs or (at_hand is not None and at_hand.task_id == task_id)

    def add(
        self, task_id: str, task: str | None, write: Write, now: float, wait: float
    ) -> list[Waiting]:
        """Let something wait, for at least ``wait`` seconds; the jobs that are given up for it."""
        job = self._jobs.get(task_id)
        if job is None:
            job = self._jobs[task_id] = Waiting(task_id, task, now)
        self._replace(job, write)
        self._bytes += write.size
        job.not_before = max(job.not_before, now + wait)
        lost = []
        while len(self._jobs) > self._most or (self._bytes > self._most_bytes and self._jobs):
            _, oldest = self._jobs.popitem(last=False)
            self._bytes -= oldest.size
            lost.append(oldest)
        return lost

    def _replace(self, job: Waiting, write: Write) -> None:
        replaced = job.writes.pop(write.kind, None)
        self._bytes -= replaced.size if replaced else 0
        job.writes[write.kind] = write

    def take(self, now: float) -> tuple[float | None, Waiting | None]:
        """The first job that may be tried, which is at hand then, or how long to wait for one.

        Without any job there is nothing to wait for: None.
        """
        due = None
        for job in self._jobs.values():
            if job.not_before <= now:
                del self._jobs[job.task_id]
                self.at_hand = job
                return None, job
            due = min(due or job.not_before, job.not_before)
        return (None if due is None else due - now), None

    def written(self, kind: str) -> None:
        """This much of the job at hand was written."""
        if self.at_hand is not None:
            self._bytes -= self.at_hand.writes.pop(kind).size

    def done(self) -> None:
        """All of the job at hand was written."""
        self.at_hand = None

    def put_back(self, now: float) -> Waiting | None:
        """The job at hand could not be written: it waits again, or is given up and returned."""
        job, self.at_hand = self.at_hand, None
        if job is None:
            return None
        job.not_before = now + next(iter(job.writes.values())).rest
        newer = self._jobs.pop(job.task_id, None)
        for write in newer.writes.values() if newer is not None else ():
            self._replace(job, write)
        if now - job.since > self._longest:
            self._bytes -= job.size
            return job
        # Behind the others: what is wrong may be wrong with this one alone.
        self._jobs[job.task_id] = job
        return None

    def clear(self) -> list[Waiting]:
        """Give all up; what that is, the job at hand first."""
        left = [] if self.at_hand is None else [self.at_hand]
        left += self._jobs.values()
        self.at_hand = None
        self._jobs.clear()
        self._bytes = 0
        return left
