"""The account of one run: every published job started exactly once, or it is said how not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@dataclass(frozen=True, kw_only=True)
class Account:
    """What became of the jobs of one run of one system."""

    #: Jobs that the broker accepted.
    published: int
    #: Different jobs that started.
    started: int
    #: Jobs that neither started nor wait in the queue.
    lost: int
    #: Starts of a job that had started before, and jobs that started and wait in the queue again.
    duplicated: int
    #: Jobs that still waited when the workers had stopped (a run that measures only the first).
    left: int

    @property
    def is_exact(self) -> bool:
        """Whether every job started once, or still waits to."""
        return self.lost == 0 and self.duplicated == 0

    def __add__(self, other: Account) -> Account:
        return Account(
            published=self.published + other.published,
            started=self.started + other.started,
            lost=self.lost + other.lost,
            duplicated=self.duplicated + other.duplicated,
            left=self.left + other.left,
        )


NOTHING = Account(published=0, started=0, lost=0, duplicated=0, left=0)


def account(published: Sequence[range], starts: Iterable[int], *, left: int = 0) -> Account:
    """Compare what was published with what started.

    Args:
        published: the numbers of the accepted jobs; ranges that do not overlap.
        starts: the number of the job of every start, in any order.
        left: messages in the queues after the workers stopped.

    Raises:
        ValueError: a job started that nobody published: the harness itself is wrong.
    """
    # A byte a job, because a soak has millions of them.
    counted = [(numbers.start, numbers.stop, bytearray(len(numbers))) for numbers in published]
    starts_of_all, strange = 0, []
    for job in starts:
        for first, end, times in counted:
            if first <= job < end:
                times[job - first] = min(255, times[job - first] + 1)
                starts_of_all += 1
                break
        else:
            strange.append(job)
    if strange:
        raise ValueError(f"expected only published jobs to start, got also: {strange[:5]}")
    total = sum(len(numbers) for numbers in published)
    started = total - sum(times.count(0) for _, _, times in counted)
    # What started and also waits is a redelivery to come: by the count only, because the queue is
    # emptied without being read.
    surplus = started + left - total
    return Account(
        published=total,
        started=started,
        lost=max(0, -surplus),
        duplicated=starts_of_all - started + max(0, surplus),
        left=left,
    )
