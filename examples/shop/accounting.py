"""Every submitted job is accounted for: expectations and facts in, an account out.

Nothing here does I/O or reads a clock. A job is accounted for when a worker told how it ended, or
when it never started because a job before it failed; a job that ended otherwise than planned, ran
elsewhere than the policy says, or that nobody heard of again, is a problem by name.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from laneway.facts import Fact
    from shop.ledger import Ledger

Outcome = Literal["succeeded", "failed", "skipped", "missing"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """Waits and runtimes of one queue, or of one priority in it, in seconds."""

    queue: str
    #: None for the whole queue.
    priority: int | None
    #: Jobs that ended there.
    jobs: int
    succeeded: int
    failed: int
    #: Runs that ended in a retry.
    retries: int
    #: From when each run could have started to when it did.
    waits: tuple[float, ...]
    #: Of each run that ended the job.
    runtimes: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Jobs of one task that went to one queue with one priority, and why there."""

    task: str
    queue: str
    priority: int
    why: str
    jobs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Failures:
    """Jobs of one task that failed for good with one type of error."""

    task: str
    error: str
    jobs: int
    #: How many of them were planned to.
    planned: int
    #: The text of one of them.
    example: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What became of all jobs."""

    #: Jobs that were submitted, by the producer or by a worker.
    submitted: int
    succeeded: int
    #: Failed for good, planned or not.
    failed: int
    #: Planned, but never submitted: a job before it failed.
    skipped: int
    #: Submitted jobs that nobody told the end of.
    missing: int
    #: Runs that ended in a retry.
    retries: int
    #: Runs of a job beyond the first of the same attempt. Delivery is at least once.
    duplicates: int
    queues: tuple[Times, ...]
    priorities: tuple[Times, ...]
    placements: tuple[Placement, ...]
    failures: tuple[Failures, ...]
    #: One line for each thing that is not as it has to be; empty if all is well.
    problems: tuple[str, ...]

    @property
    def accounted(self) -> int:
        """Submitted jobs with a known end."""
        return self.submitted - self.missing


def close_books(ledger: Ledger) -> Account:
    """The account as it stands now; a job that may still end counts as missing."""
    return _Books(ledger).close()


class _Books:
    """Everything that is worked out once, at the end."""

    def __init__(self, ledger: Ledger) -> None:
        stories = ledger.stories()
        self._expected = {job.id: job for job, _story in stories}
        self._stories = {job.id: story for job, story in stories}
        self._strangers = ledger.strangers()
        self._outcomes: dict[str, Outcome] = {}

    def close(self) -> Account:
        outcomes = Counter(self._outcome(job_id) for job_id in self._expected)
        stories = self._stories.values()
        return Account(
            submitted=len(self._expected) - outcomes["skipped"],
            succeeded=outcomes["succeeded"],
            failed=outcomes["failed"],
            skipped=outcomes["skipped"],
            missing=outcomes["missing"],
            retries=sum(story.retries for story in stories),
            duplicates=sum(story.duplicates for story in stories),
            queues=self._times(by_priority=False),
            priorities=self._times(by_priority=True),
            placements=self._placements(),
            failures=self._failures(),
            problems=tuple(self._problems()),
        )

    def _outcome(self, job_id: str) -> Outcome:
        """How the job ended; the first end counts, since a duplicate comes after it."""
        if job_id not in self._outcomes:
            self._outcomes[job_id] = self._find_outcome(job_id)
        return self._outcomes[job_id]

    def _find_outcome(self, job_id: str) -> Outcome:
        story = self._stories[job_id]
        if story.finals:
            return "succeeded" if story.finals[0].kind == "succeeded" else "failed"
        before = {self._outcome(earlier) for earlier in self._expected[job_id].after}
        if story.last is None and before & {"failed", "skipped"}:
            return "skipped"
        return "missing"

    def _times(self, *, by_priority: bool) -> tuple[Times, ...]:
        groups: dict[tuple[str, int | None], list[str]] = defaultdict(list)
        for job_id, story in self._stories.items():
            if story.finals:
                queue, priority = self._place(job_id)
                groups[queue, priority if by_priority else None].append(job_id)
        # The most urgent first inside a queue.
        order = sorted(groups, key=lambda place: (place[0], -(place[1] or 0)))
        return tuple(
            self._times_of(queue, priority, groups[queue, priority]) for queue, priority in order
        )

    def _times_of(self, queue: str, priority: int | None, jobs: list[str]) -> Times:
        stories = [self._stories[job_id] for job_id in jobs]
        outcomes = Counter(self._outcome(job_id) for job_id in jobs)
        runtimes = (fact.runtime for story in stories for fact in story.finals)
        return Times(
            queue=queue,
            priority=priority,
            jobs=len(jobs),
            succeeded=outcomes["succeeded"],
            failed=outcomes["failed"],
            retries=sum(story.retries for story in stories),
            waits=tuple(sorted(wait for story in stories for wait in story.waits)),
            runtimes=tuple(sorted(runtime for runtime in runtimes if runtime is not None)),
        )

    def _place(self, job_id: str) -> tuple[str, int]:
        """Where the job ran; what the facts leave out is as planned."""
        job, fact = self._expected[job_id], self._stories[job_id].last
        if fact is None:
            return job.queue, job.priority
        return fact.queue or job.queue, job.priority if fact.priority is None else fact.priority

    def _placements(self) -> tuple[Placement, ...]:
        counts: Counter[tuple[str, str, int, str]] = Counter()
        for job_id, story in self._stories.items():
            if story.last is not None:
                job = self._expected[job_id]
                counts[job.task, *self._place(job_id), job.why] += 1
        return tuple(
            Placement(task=task, queue=queue, priority=priority, why=why, jobs=jobs)
            for (task, queue, priority, why), jobs in sorted(counts.items())
        )

    def _failures(self) -> tuple[Failures, ...]:
        groups: dict[tuple[str, str], list[str]] = defaultdict(list)
        for job_id, job in self._expected.items():
            if self._outcome(job_id) == "failed":
                groups[job.task, _error(self._stories[job_id].finals[0])].append(job_id)
        return tuple(
            Failures(
                task=task,
                error=error,
                jobs=len(jobs),
                planned=sum(self._expected[job_id].fails_with == error for job_id in jobs),
                example=self._stories[jobs[0]].finals[0].reason or "",
            )
            for (task, error), jobs in sorted(groups.items())
        )

    def _problems(self) -> Iterator[str]:
        for job_id, job in self._expected.items():
            name = f"{job.task} {job_id}"
            match self._outcome(job_id):
                case "missing":
                    yield f"{name}: missing; {self._last_heard(job_id)}"
                case "succeeded" if job.fails_with is not None:
                    yield f"{name}: expected it to fail with {job.fails_with}, it succeeded"
                case "failed" if _error(self._stories[job_id].finals[0]) != job.fails_with:
                    final = self._stories[job_id].finals[0]
                    planned = f"to fail with {job.fails_with}" if job.fails_with else "success"
                    yield f"{name}: expected {planned}, got {_error(final)}: {final.reason}"
            if self._place(job_id) != (job.queue, job.priority):
                queue, priority = self._place(job_id)
                yield (
                    f"{name}: expected queue {job.queue} and priority {job.priority} ({job.why}), "
                    f"got {queue} and {priority}"
                )
        for what, count in sorted(self._strangers.items()):
            yield f"ended, but nobody submitted it: {what} ({count} times)"

    def _last_heard(self, job_id: str) -> str:
        job, last = self._expected[job_id], self._stories[job_id].last
        if last is not None:
            attempt = f", attempt {last.attempt}" if last.attempt else ""
            return f"last heard of it: {last.kind} on {last.queue}{attempt}"
        waits_for = [earlier for earlier in job.after if self._outcome(earlier) == "missing"]
        if waits_for:
            return f"it follows {waits_for[0]}, which is missing too"
        return f"no worker of {job.queue} ever told of it"


def _error(final: Fact) -> str:
    """What to call a bad end: the error's class, or ``rejected`` and the like."""
    return final.error_type or final.kind
