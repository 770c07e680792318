"""What an autoscaler knows: counters that are some seconds old, and what it makes of them."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from laneway.scaling.need import Load

if TYPE_CHECKING:
    from laneway.scaling.simulate.fleet import Fleet
    from laneway.scaling.simulate.world import World


@dataclass(frozen=True, slots=True)
class Statistics:
    """The broker's numbers of a queue, at one time."""

    at: float
    #: Jobs published so far.
    published: int
    #: That wait, and that workers hold.
    ready: int
    unacked: int
    #: Published a second since the numbers before.
    publish_rate: float

    @property
    def messages(self) -> int:
        """Both, as ``messages`` of the management interface counts them."""
        return self.ready + self.unacked


@dataclass(slots=True, kw_only=True)
class Reader:
    """What Laneway's scaler keeps: arrivals and runtimes over their windows."""

    world: World
    _published: deque[tuple[float, int]]
    _finished: deque[tuple[float, int, float]]
    _runtime: float

    @classmethod
    def begin(cls, world: World) -> Reader:
        """A scaler that has just started: it knows what the policy expects."""
        return cls(
            world=world,
            _published=deque(),
            _finished=deque(),
            _runtime=world.queue.scaling.expected_runtime,
        )

    def look(self, statistics: Statistics, finished: tuple[int, float]) -> Load | None:
        """Take the newest numbers.

        Returns:
            The load; None before there are two looks.
        """
        at = statistics.at
        self._published.append((at, statistics.published))
        while len(self._published) > 2 and self._published[1][0] <= at - self.world.arrivals_window:
            self._published.popleft()
        self._finished.append((at, *finished))
        while self._finished[0][0] <= at - self.world.runtime_window:
            self._finished.popleft()
        count = sum(n for _, n, _ in self._finished)
        if count:
            self._runtime = sum(seconds for _, _, seconds in self._finished) / count
        arrivals = self._rate(self.world.arrivals_window)
        if arrivals is None:
            return None
        if self.world.rise_window:
            arrivals = max(arrivals, self._rate(self.world.rise_window) or 0.0)
        return Load(
            arrivals=arrivals,
            runtime=self._runtime,
            busy=statistics.unacked,
            backlog=statistics.ready,
        )

    def _rate(self, window: float) -> float | None:
        """Jobs a second since the newest look that is as old as the window, or the oldest."""
        at, published = self._published[-1]
        points = [point for point in self._published if point[0] < at]
        if not points:
            return None
        old = [point for point in points if point[0] <= at - window]
        since, before = old[-1] if old else points[0]
        return (published - before) / (at - since)


@dataclass(frozen=True, slots=True)
class Seen:
    """Everything that a policy may look at when the HPA asks."""

    statistics: Statistics
    #: Of Laneway's scaler; None: it knows nothing yet.
    load: Load | None
    #: Processors that the jobs of the ready pods use, for each pod the same.
    cpu: float
    #: Pods that take jobs, and all.
    ready: int
    pods: int


def read_statistics(fleet: Fleet, before: Statistics | None) -> Statistics:
    """The numbers that the broker has now."""
    published = fleet.published
    rate = 0.0
    if before is not None and fleet.now > before.at:
        rate = (published - before.published) / (fleet.now - before.at)
    return Statistics(fleet.now, published, fleet.backlog, fleet.busy, rate)
