"""How soon work went on after a fault, and in which order. Pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

#: Seconds before a fault whose throughput counts as usual, and the window that is compared to it.
_BEFORE: Final = 6.0
_WINDOW: Final = 1.0
_STEP: Final = 0.05
#: The share of the usual throughput that counts as back, and the least that can be judged.
_BACK: Final = 0.5
_LEAST: Final = 5.0
#: Seconds after a fault's cause that a standstill may begin in.
_AFTER: Final = 10.0
#: Seconds that are looked at.
_PATIENCE: Final = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A fault as it was."""

    number: int
    kind: str
    #: Whom it hit, in words.
    whom: str
    #: When it came and when its cause was gone (the monotonic clock).
    began: float
    healed: float
    #: The queue that it hit, by its place in :data:`chaos.ledger.QUEUES`; None if all.
    queue: int | None = None
    #: What went wrong with the fault itself.
    trouble: str = ""


def recovery(fault: Done, ends: Sequence[float]) -> float | None:
    """Seconds from the end of a fault's cause until throughput was back.

    Back is half of the usual: that of the six seconds before the fault.

    Args:
        fault: it.
        ends: when jobs ended, sorted.

    Returns:
        None if there was too little to do before it, or if it never came back.
    """
    usual = _count(ends, fault.began - _BEFORE, fault.began) / _BEFORE
    if usual < _LEAST:
        return None
    at = fault.healed
    while at < fault.healed + _PATIENCE:
        if _count(ends, at, at + _WINDOW) >= _BACK * usual * _WINDOW:
            return at - fault.healed
        at += _STEP
    return None


def standstill(fault: Done, ends: Sequence[float], load_until: float) -> float:
    """The longest time without any end of a job, from a fault until ten seconds after its cause.

    Args:
        fault: it.
        ends: when jobs ended, sorted.
        load_until: when producers had published everything: then nothing need end any more.
    """
    last = max(fault.began, min(fault.healed + _AFTER, load_until))
    between = ends[bisect_left(ends, fault.began) : bisect_right(ends, last)]
    return max(b - a for a, b in pairwise([fault.began, *between, last]))


def _count(ends: Sequence[float], first: float, last: float) -> int:
    return bisect_right(ends, last) - bisect_left(ends, first)


def late_urgent(priorities: Iterable[int]) -> int:
    """How many starts must be left out so that the others are in strict order of priority.

    After a crash that is what the killed process held: the broker puts it before all else.

    Args:
        priorities: those of the jobs, in the order of their starts.
    """
    # The longest part that never rises: its length by patience sorting of the negated priorities.
    tails: list[int] = []
    count = 0
    for priority in priorities:
        count += 1
        place = bisect_right(tails, -priority)
        tails[place : place + 1] = [-priority]
    return count - len(tails)
