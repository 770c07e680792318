"""The account of one run: every published job started exactly once, or it is said how not."""

from __future__ import annotations

from collections import Counter
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
    times = Counter(starts)
    strange = [job for job in times if not any(job in numbers for numbers in published)]
    if strange:
        raise ValueError(f"expected only published jobs to start, got also: {strange[:5]}")
    total = sum(len(numbers) for numbers in published)
    # What started and also waits is a redelivery to come: by the count only, because the queue is
    # emptied without being read.
    surplus = len(times) + left - total
    return Account(
        published=total,
        started=len(times),
        lost=max(0, -surplus),
        duplicated=sum(times.values()) - len(times) + max(0, surplus),
        left=left,
    )
