"""What became of the jobs of a batch: accepted, refused, perhaps accepted, never sent."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Unsettled:
    """A job of a batch that was not accepted for certain."""

    #: Its place in the batch, from 0.
    position: int
    #: Its id; None if it was refused before it had one.
    task_id: str | None
    #: Why it was refused; None if nobody answered.
    error: Exception | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchAccount:
    """What became of every job that a batch took; positions count from 0.

    Its size does not grow with the batch: accepted jobs are ranges, and a batch takes no more jobs
    after the first that was not accepted, so the others are at most a window.
    """

    #: Jobs that the batch was given; a later one was never looked at.
    taken: int
    #: Positions of the jobs that the broker confirmed, in ascending ranges.
    accepted: tuple[range, ...]
    #: Jobs that the broker or the platform refused: they are certainly in no queue.
    refused: tuple[Unsettled, ...] = ()
    #: Jobs that were sent, and whose confirm never came: they may be in their queue.
    maybe_accepted: tuple[Unsettled, ...] = ()
    #: Jobs that were taken and never sent.
    unsent: tuple[Unsettled, ...] = ()
    #: Jobs that were sent a second time, with the same id, because a connection was lost before
    #: their confirm: each of them may run twice.
    sent_twice: int = 0

    @property
    def count(self) -> int:
        """How many jobs were accepted."""
        return sum(len(one) for one in self.accepted)

    @property
    def complete(self) -> bool:
        """Whether every job was accepted."""
        return self.count == self.taken

    def __str__(self) -> str:
        parts = [f"{self.count} of {self.taken} jobs accepted"]
        for jobs, words in (
            (self.refused, "refused"),
            (self.maybe_accepted, "sent and never confirmed (they may be accepted)"),
            (self.unsent, "never sent"),
        ):
            if jobs:
                parts.append(f"{len(jobs)} {words}, from position {jobs[0].position}")
        if self.sent_twice:
            parts.append(f"{self.sent_twice} sent twice")
        return "; ".join(parts)


@dataclass(slots=True)
class Positions:
    """A growing set of positions, kept as ranges; nearly in order costs nearly nothing."""

    _starts: list[int] = field(default_factory=list)
    _stops: list[int] = field(default_factory=list)

    def add(self, position: int) -> None:
        """Put one in; it is not there yet."""
        starts, stops = self._starts, self._stops
        if stops and stops[-1] == position:
            stops[-1] += 1
            return
        after = bisect_right(starts, position)
        joins_left = after > 0 and stops[after - 1] == position
        joins_right = after < len(starts) and starts[after] == position + 1
        if joins_left and joins_right:
            stops[after - 1] = stops[after]
            del starts[after], stops[after]
        elif joins_left:
            stops[after - 1] += 1
        elif joins_right:
            starts[after] = position
        else:
            starts.insert(after, position)
            stops.insert(after, position + 1)

    def __iter__(self) -> Iterator[range]:
        return (range(*ends) for ends in zip(self._starts, self._stops, strict=True))
