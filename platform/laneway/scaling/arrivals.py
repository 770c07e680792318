"""How many jobs a second come into a queue, out of counters that the broker now and then tells.

The broker's numbers are as old as its statistics: they stand still for seconds, then jump. So a
number is taken to be of the moment when it was first seen, and one that stands still to be as old
as statistics get. A rate is what was counted between two such moments.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import pairwise
from math import sqrt
from typing import Final

#: Seconds by which the broker's statistics may be late, as RabbitMQ comes.
STATISTICS_AGE: Final = 5.5
#: Standard deviations of chance that a rise must be above the mean.
SURE: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """Of something that is counted."""

    per_second: float
    #: Seconds that it is the mean of.
    covers: float


class CounterWindow:
    """A counter over the last seconds.

    One that falls has begun anew, or a part of it is missing for a while: it is the sum of what the
    nodes of a cluster counted. So neither the step in which it falls counts nor the one in which it
    passes again what it was before.

    Args:
        window: seconds.
        age: seconds by which the counter may be late.
    """

    def __init__(self, window: float, *, age: float = STATISTICS_AGE) -> None:
        self._window = window
        self._age = age
        #: When the counter was so, what it was, and whether the step to there counts; the first may
        #: be older than the window.
        self._points: deque[tuple[float, float, bool]] = deque()
        self._first: tuple[float, float] | None = None
        self._peak: float | None = None
        self._looked_at = 0.0

    def add(self, at: float, count: float) -> None:
        """What was seen.

        Args:
            at: seconds, from any beginning, that never go back.
            count: what the counter says.
        """
        self._looked_at = at
        if not self._points:
            self._begin(at, count)
            return
        when, before, _ = self._points[-1]
        now = at if count != before else max(when, at - self._age)
        if now > when:
            self._points.append((now, count, self._is_whole(before, count)))
        while len(self._points) > 1 and self._points[1][0] <= at - self._window:
            self._points.popleft()

    def _is_whole(self, before: float, count: float) -> bool:
        """Whether it was counted on from ``before`` to ``count`` and nothing else."""
        if count < before:
            self._peak = max(before, self._peak or 0.0)
            return False
        if self._peak is not None and count >= self._peak:
            self._peak = None
            return False
        return True

    def _begin(self, at: float, count: float) -> None:
        # How old the first number is nobody knows, unless it changes or stands still for long.
        if self._first is None:
            self._first = at, count
            return
        since, before = self._first
        if count != before:
            self._points.append((at, count, False))
        elif at - since >= self._age:
            self._points.append((at - self._age, count, False))

    def rate(self, seconds: float | None = None) -> Rate | None:
        """The rate over the window, or what of it was seen; None if that is nothing.

        Args:
            seconds: its last ones only; a step that began before them and ended in them counts.
        """
        since = self._looked_at - min(seconds or self._window, self._window)
        counted = covers = 0.0
        for (began, before, _), (ended, after, whole) in pairwise(self._points):
            if whole and ended > since:
                counted += after - before
                covers += ended - began
        return Rate(per_second=counted / covers, covers=covers) if covers else None


class GaugeWindow:
    """A number that rises and falls, over the last seconds.

    Args:
        window: seconds.
    """

    def __init__(self, window: float) -> None:
        self._window = window
        self._points: deque[tuple[float, float]] = deque()

    def add(self, at: float, value: float) -> None:
        """What was seen, and when."""
        self._points.append((at, value))
        while len(self._points) > 1 and self._points[1][0] <= at - self._window:
            self._points.popleft()

    def growth(self, seconds: float | None = None) -> float:
        """By how much it grew a second; 0 where only one number was seen.

        Args:
            seconds: only over the last ones of the window.
        """
        if not self._points:
            return 0.0
        ended, after = self._points[-1]
        since = ended - min(seconds or self._window, self._window)
        # The newest that is so old, else the oldest.
        old = [point for point in self._points if point[0] <= since] or [self._points[0]]
        began, before = old[-1]
        return (after - before) / (ended - began) if ended > began else 0.0


class Arrivals:
    """How many jobs a second come into one queue.

    A mean over a minute follows a burst a minute late, and one over some seconds trembles: an
    autoscaler that keeps peaks for minutes would pay for each. So a rise counts where it is surely
    one, and then as it is.

    Args:
        window: seconds that the rate is the mean of.
        rise: seconds within which a rise is to be seen; as long as the window or longer is not at
            all.
        every: seconds between two looks.
    """

    def __init__(self, window: float, *, rise: float, every: float) -> None:
        self._window = window
        self._rise = rise
        self._every = every
        self._published = CounterWindow(window)
        self._settled = CounterWindow(window)
        self._held = GaugeWindow(window)

    def add(self, at: float, *, published: int, settled: int, held: int) -> None:
        """What was seen.

        Args:
            at: seconds, from any beginning, that never go back.
            published: jobs that were ever published.
            settled: jobs that were ever acknowledged.
            held: jobs that are there, waiting or with workers.
        """
        self._published.add(at, published)
        self._settled.add(at, settled)
        self._held.add(at, held)

    def rate(self) -> Rate | None:
        """The rate over the window, or what of it was seen; None if that is nothing."""
        return self._over(self._window)

    def rise(self) -> Rate | None:
        """The rate over the last seconds, if chance and late looks cannot make it of the mean."""
        mean, risen = self.rate(), None
        if mean is not None and self._rise < self._window:
            risen = self._over(self._rise)
        if mean is None or risen is None:
            return None
        jobs = risen.per_second * risen.covers
        # The first of them may have come up to a look earlier than was seen.
        surely = (jobs - SURE * sqrt(jobs)) / (risen.covers + self._every)
        return risen if surely > mean.per_second else None

    def _over(self, seconds: float) -> Rate | None:
        """What was published, or what must have come for so many to have gone and to be there.

        A job whose delay has ended (a retry, a countdown) is published by nobody: only the second
        way sees it. It cannot see what was purged.
        """
        published, settled = self._published.rate(seconds), self._settled.rate(seconds)
        if published is None or settled is None:
            return published
        flow = settled.per_second + self._held.growth(seconds)
        return Rate(per_second=max(published.per_second, flow), covers=published.covers)
