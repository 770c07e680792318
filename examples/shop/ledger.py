"""What is expected of each job, and what was heard of it."""

from __future__ import annotations

import dataclasses
import threading
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from shop.workload import steps_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from laneway.facts import Fact
    from laneway.policy.router import Router
    from shop.workload import Workload

_FINAL: Final = frozenset({"succeeded", "failed", "rejected", "quarantined"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """One planned job and where the policy sends it."""

    #: The job's id.
    id: str
    #: The task's name.
    task: str
    #: The queue that the policy decides.
    queue: str
    #: The priority that the policy decides.
    priority: int
    #: Why that queue, in words.
    why: str
    #: The class name of the error that it has to fail with; None if it has to succeed.
    fails_with: str | None = None
    #: Ids of the jobs that have to succeed before it starts.
    after: tuple[str, ...] = ()


def expectations(workload: Workload, router: Router) -> tuple[Expected, ...]:
    """What the policy decides for each job; a job inherits from the one before it."""
    expected: dict[str, Expected] = {}
    for flow in workload.flows:
        for job, before in steps_of(flow):
            parent = expected[before[0].id].priority if before else None
            decision = router.decide(job.task, priority=job.priority, parent_priority=parent)
            expected[job.id] = Expected(
                id=job.id,
                task=job.task,
                queue=decision.queue,
                priority=decision.priority,
                why=decision.queue_reason,
                fails_with=job.fails_with,
                after=tuple(earlier.id for earlier in before),
            )
    return tuple(expected.values())


@dataclass(slots=True)
class Story:
    """What was heard of one job."""

    #: How often each attempt was started.
    starts: Counter[int] = field(default_factory=Counter)
    #: Of each start, in seconds.
    waits: list[float] = field(default_factory=list)
    #: How it ended; more than one if it ran twice.
    finals: list[Fact] = field(default_factory=list)
    #: Runs that ended in a retry.
    retries: int = 0
    #: The newest fact.
    last: Fact | None = None

    def take(self, fact: Fact) -> None:
        """Add what was heard."""
        match fact.kind:
            case "started":
                self.starts[fact.attempt or 1] += 1
                if fact.wait is not None:
                    self.waits.append(fact.wait)
            case "retried":
                self.retries += 1
            case kind if kind in _FINAL:
                self.finals.append(fact)
        self.last = fact

    def copy(self) -> Story:
        """The story so far."""
        return dataclasses.replace(
            self, starts=self.starts.copy(), waits=self.waits.copy(), finals=self.finals.copy()
        )

    @property
    def duplicates(self) -> int:
        """Runs beyond the first of the same attempt: redelivered after a crash or a lost ack."""
        again = sum(count - 1 for count in self.starts.values())
        return max(again, len(self.finals) - 1, 0)


class Ledger:
    """Takes the facts of all workers, in any order and from any thread.

    Args:
        expected: all planned jobs; ids are unique.
    """

    def __init__(self, expected: Iterable[Expected]) -> None:
        self._expected: Final = {job.id: job for job in expected}
        self._followers: Final[dict[str, list[str]]] = defaultdict(list)
        for job in self._expected.values():
            for before in job.after:
                self._followers[before].append(job.id)
        self._stories: dict[str, Story] = {}
        self._strangers: Counter[str] = Counter()
        self._open = set(self._expected)
        self._lock = threading.Lock()

    def note(self, fact: Fact, /) -> None:
        """Take a fact: the ledger is a listener."""
        with self._lock:
            job = self._expected.get(fact.task_id or "")
            if job is not None:
                self._stories.setdefault(job.id, Story()).take(fact)
                if fact.kind in _FINAL:
                    self._close(job.id, skip=fact.kind != "succeeded")
                elif not self._stories[job.id].finals:
                    # Not skipped after all: a second run of the job before it went well.
                    self._open.add(job.id)
            elif fact.kind in _FINAL:
                self._strangers[f"{fact.kind}: {fact.task or 'a message without a task'}"] += 1

    def open(self) -> int:
        """How many jobs may still end."""
        with self._lock:
            return len(self._open)

    def ended(self) -> Counter[str]:
        """How many jobs ended, by the queue that they were meant for; skipped ones count."""
        with self._lock:
            return Counter(job.queue for job in self._expected.values() if job.id not in self._open)

    def stories(self) -> list[tuple[Expected, Story]]:
        """Each planned job and what was heard of it until now."""
        with self._lock:
            return [
                (job, self._stories[job_id].copy() if job_id in self._stories else Story())
                for job_id, job in self._expected.items()
            ]

    def strangers(self) -> Counter[str]:
        """Jobs that ended and were not planned: how and which task, and how many of them."""
        with self._lock:
            return self._strangers.copy()

    def _close(self, job_id: str, *, skip: bool) -> None:
        self._open.discard(job_id)
        if skip:
            for follower in self._followers[job_id]:
                self._close(follower, skip=True)
