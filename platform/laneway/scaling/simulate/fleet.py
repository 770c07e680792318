"""The queue and its workers: jobs start in order, each in the first slot that is free.

An event for each job would be too slow in Python. Jobs of one priority start in the order in which
they came, so a heap of the times at which slots become free is all that is needed, and what waits
at a time is counted from two sorted lists. Slots know no pod: they are alike, so those of a pod
that ends are drawn by lot. (Which pod ends is Kubernetes's choice: it does not look at busy ones.)
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from heapq import heapify, heappush, heapreplace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

    from laneway.scaling.simulate.trace import Trace
    from laneway.scaling.simulate.world import World


class Fleet:
    """The pods of one queue while they work off a trace. Time only goes forward."""

    def __init__(self, trace: Trace, world: World, pods: int, chance: random.Random) -> None:
        self._concurrency = world.concurrency
        self._pod_start = world.pod_start
        self._grace = world.queue.worker.grace_period
        self._chance = chance
        self.now = trace.arrivals[0] if trace.arrivals else 0.0
        #: When each job was published, and when it started, those that did.
        self.arrivals, self.runtimes = trace.arrivals, trace.runtimes
        self.starts: list[float] = []
        #: Publish times of jobs that were handed back by an ending pod, to run again.
        self.again: set[float] = set()
        self.pods = pods
        #: Seconds that pods existed from time 0 on.
        self.pod_seconds = 0.0
        self._free = [self.now] * (pods * self._concurrency)
        # Both: times at which something changes by itself.
        self._starting: list[float] = []
        self._ending: list[float] = []
        self._watched: list[tuple[float, float]] = []
        self._seen = 0

    def advance(self, until: float) -> None:
        """Let jobs start, up to this time."""
        self.pod_seconds += self.pods * (until - max(self.now, 0.0)) if until > 0 else 0.0
        self.now = until
        free, starts = self._free, self.starts
        if not free:
            return
        arrivals, runtimes, add = self.arrivals, self.runtimes, starts.append
        index = len(starts)
        end = bisect_left(arrivals, until, index)
        while index < end:
            start = free[0]
            arrival = arrivals[index]
            if start < arrival:
                start = arrival
            elif start >= until:
                break
            heapreplace(free, start + runtimes[index])
            add(start)
            index += 1

    @property
    def published(self) -> int:
        """Jobs so far."""
        return bisect_right(self.arrivals, self.now)

    @property
    def backlog(self) -> int:
        """Jobs that wait."""
        return self.published - len(self.starts)

    @property
    def ready(self) -> int:
        """Pods that take jobs."""
        self._starting = [at for at in self._starting if at > self.now]
        return self.pods - len(self._starting)

    @property
    def busy(self) -> int:
        """Jobs that run, in ending pods too."""
        now = self.now
        self._ending = [at for at in self._ending if at > now]
        later = sum(1 for at in self._free if at > now)
        return later - (self.pods - self.ready) * self._concurrency + len(self._ending)

    @property
    def finished(self) -> bool:
        """Whether every job has started."""
        return len(self.starts) == len(self.arrivals)

    def scale(self, pods: int) -> None:
        """Ask for so many pods from now on."""
        while self.pods < pods:
            at = self.now + self._chance.uniform(*self._pod_start)
            self._starting.append(at)
            for _ in range(self._concurrency):
                heappush(self._free, at)
            self.pods += 1
        while self.pods > pods:
            self._end_one()

    def _end_one(self) -> None:
        """End a pod: one that is not ready yet if there is any, as a ReplicaSet does."""
        if self.ready < self.pods:
            youngest = max(self._starting)
            self._starting.remove(youngest)
            self._free = [at for at in self._free if at != youngest]
        else:
            chosen = set(self._chance.sample(range(len(self._free)), self._concurrency))
            busy = [self._free[index] for index in chosen if self._free[index] > self.now]
            self._free = [at for index, at in enumerate(self._free) if index not in chosen]
            self._drain(busy)
        heapify(self._free)
        self.pods -= 1

    def _drain(self, ends: list[float]) -> None:
        """Let the jobs of an ending pod end; what outlives the grace period is handed back."""
        deadline = self.now + self._grace
        for end in ends:
            if end > deadline:
                self._hand_back(end, deadline)
        last = min(max(ends, default=self.now), deadline)
        self.pod_seconds += max(0.0, last - max(self.now, 0.0))
        self._ending += [min(end, deadline) for end in ends]

    def _hand_back(self, end: float, at: float) -> None:
        for index in range(len(self.starts) - 1, -1, -1):
            if self.starts[index] + self.runtimes[index] == end:
                break
        else:
            return
        if not self.again:
            # The trace is shared with other policies.
            self.arrivals, self.runtimes = self.arrivals.copy(), self.runtimes.copy()
        insort(self.arrivals, at)
        self.runtimes.insert(bisect_right(self.arrivals, at) - 1, self.runtimes[index])
        self.again.add(at)

    def take_finished(self) -> tuple[tuple[int, float], float]:
        """What workers report.

        Returns:
            Jobs that ended since the last call, and their seconds; and the seconds that those that
            run have run for, all together.
        """
        begun = zip(
            self.starts[self._seen :],
            self.runtimes[self._seen : len(self.starts)],
            strict=True,
        )
        self._watched += [(start + runtime, runtime) for start, runtime in begun]
        self._seen = len(self.starts)
        now = self.now
        ended = [runtime for end, runtime in self._watched if end <= now]
        self._watched = [pair for pair in self._watched if pair[0] > now]
        running_for = sum(now - end + runtime for end, runtime in self._watched)
        return (len(ended), sum(ended)), running_for
