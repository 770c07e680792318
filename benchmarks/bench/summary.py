"""Numbers of several runs made into one line: medians, ranges, ratios, ties."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Two medians less than this part apart are a tie.
TIE: Final = 0.10


@dataclass(frozen=True, kw_only=True)
class Spread:
    """The values of one measure over all runs of one system."""

    median: float
    low: float
    high: float
    runs: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Raises ValueError without values."""
        if not values:
            raise ValueError("expected the values of one run at least, got none")
        return cls(median=median(values), low=min(values), high=max(values), runs=len(values))


def median_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Between which values the median of all runs that could be made lies, with 95 % certainty.

    By the order of the values alone (the sign test): nothing is assumed of how they are spread, and
    a run that something disturbed moves no end. None for fewer than six, which cannot say it.
    """
    count, outside, rank = len(values), 0.0, 0
    while (outside := outside + 2 * math.comb(count, rank) / 2**count) <= 0.05:
        rank += 1
    ordered = sorted(values)
    return (ordered[rank - 1], ordered[count - rank]) if rank else None


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """One system's median against another's, so that above 1 is always the better."""

    value: float
    verdict: Literal["better", "worse", "tie"]

    def __str__(self) -> str:
        return "tie" if self.verdict == "tie" else f"{self.value:.2g}×"


def ratio(own: float, other: float, *, higher_is_better: bool) -> Ratio | None:
    """How much better ``own`` is than ``other``; None where nothing can be said (a zero)."""
    if own <= 0 or other <= 0:
        return None
    value = own / other if higher_is_better else other / own
    # Apart by the larger of the two, so that the verdict is the same from either side.
    if min(own, other) > (1 - TIE) * max(own, other):
        return Ratio(value=value, verdict="tie")
    return Ratio(value=value, verdict="better" if value > 1 else "worse")


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that ``percent`` of all do not exceed (nearest rank).

    Raises:
        ValueError: no values, or a percentage outside 0 to 100.
    """
    if not values or not 0 <= percent <= 100:
        raise ValueError(f"expected values and 0 to 100 percent, got: {len(values)}, {percent}")
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


def steady_rate(moments: Sequence[float]) -> float:
    """Starts a second between the first and the last tenth of all starts.

    The ends are left out: at the first not every process runs yet, at the last some have nothing
    more to do. Fewer than 20 starts, or all at once, are no rate: 0.
    """
    if len(moments) < 20:
        return 0.0
    ordered = sorted(moments)
    first, last = len(ordered) // 10, len(ordered) - 1 - len(ordered) // 10
    seconds = ordered[last] - ordered[first]
    return (last - first) / seconds if seconds > 0 else 0.0


def inversions(urgent: Sequence[tuple[float, float]], others: Sequence[float]) -> list[int]:
    """For each urgent job, how many less urgent ones started while it was there and waited.

    Args:
        urgent: when each was accepted by the broker, and when it started.
        others: when the less urgent ones started.
    """
    ordered = sorted(others)
    return [
        max(0, bisect_left(ordered, started) - bisect_right(ordered, accepted))
        for accepted, started in urgent
    ]
