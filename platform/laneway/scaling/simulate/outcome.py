"""How it went: what people waited, what it cost, how restless it was."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from itertools import pairwise
from operator import sub
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from laneway.scaling.simulate.fleet import Fleet
    from laneway.scaling.simulate.policies import Policy
    from laneway.scaling.simulate.run import Look
    from laneway.scaling.simulate.trace import Trace
    from laneway.scaling.simulate.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One trace under one policy. The warm-up is in none of the numbers."""

    policy: Policy
    #: Jobs that count.
    jobs: int
    #: Share of them that started within the service level; what never started did not.
    within: float
    #: Seconds from publish to start that 95 and 99 of 100 did not exceed; None: they never started.
    p95: float | None
    p99: float | None
    #: Hours for which pods existed, starting and ending ones too.
    pod_hours: float
    #: Changes of direction, from more pods to fewer or back, in an hour.
    flapping: float
    #: Pods at the most.
    most_pods: int
    #: Jobs that an ending pod handed back, so that they ran again.
    handed_back: int
    #: For the picture: the fleet every few seconds, and when late jobs had been published.
    looks: Sequence[Look]
    late: Sequence[float]


def outcome_of(
    trace: Trace,
    world: World,
    policy: Policy,
    fleet: Fleet,
    looks: Sequence[Look],
    changes: Sequence[tuple[float, int]],
) -> Outcome:
    """Count what a fleet did."""
    level = world.queue.service_level
    first = bisect_left(fleet.arrivals, 0.0)
    arrivals = fleet.arrivals[first : len(fleet.starts)]
    waits = list(map(sub, fleet.starts[first:], arrivals))
    if fleet.again:
        # The second run of a job is no second wait for its first.
        waits = [w for w, at in zip(waits, arrivals, strict=True) if at not in fleet.again]
        arrivals = [at for at in arrivals if at not in fleet.again]
    jobs = len(trace.arrivals) - bisect_left(trace.arrivals, 0.0)
    never = jobs - len(waits)
    late = []
    if max(waits, default=0.0) > level:
        late = [at for at, wait in zip(arrivals, waits, strict=True) if wait > level]
    waits = sorted([wait for wait in waits if wait > 0])
    return Outcome(
        policy=policy,
        jobs=jobs,
        within=1 - (len(late) + never) / jobs if jobs else 1.0,
        p95=_quantile(waits, jobs, never, 0.95),
        p99=_quantile(waits, jobs, never, 0.99),
        pod_hours=fleet.pod_seconds / 3600,
        flapping=_turns([change for at, change in changes if at >= 0]) / (trace.seconds / 3600),
        most_pods=max((look.pods for look in looks if look.at >= 0), default=fleet.pods),
        handed_back=len(fleet.again),
        looks=[look for look in looks if look.at >= 0],
        late=late,
    )


def _quantile(waits: list[float], jobs: int, never: int, share: float) -> float | None:
    """Of all jobs, where only the waits above zero are given, in order."""
    above = jobs - int(share * jobs) - never
    if above <= 0:
        return None if never else 0.0
    return waits[-above] if above <= len(waits) else 0.0


def _turns(changes: list[int]) -> int:
    return sum(1 for before, after in pairwise(changes) if before * after < 0)
