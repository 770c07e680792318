"""One trace under one policy, from the first job to the last."""

from __future__ import annotations

import random
from bisect import bisect_left
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Final

from laneway.scaling.simulate.fleet import Fleet
from laneway.scaling.simulate.hpa import Hpa
from laneway.scaling.simulate.outcome import Outcome, outcome_of
from laneway.scaling.simulate.policies import Fixed
from laneway.scaling.simulate.seen import Reader, Seen, Statistics, read_statistics

if TYPE_CHECKING:
    from laneway.scaling.simulate.policies import Policy
    from laneway.scaling.simulate.trace import Trace
    from laneway.scaling.simulate.world import World

#: Seconds after the trace in which what is left must have started. Without an end, a policy that
#: never catches up would be simulated for ever.
LONGEST_TAIL: Final = 3600.0
#: Seconds that a look of the scaler takes. So now and then one sees two statistics at once.
LOOK_TAKES: Final = 0.03


@dataclass(frozen=True, slots=True)
class Look:
    """The fleet at one time, for the picture."""

    at: float
    pods: int
    ready: int
    backlog: int


def simulate(trace: Trace, world: World, policy: Policy, seed: int) -> Outcome:
    """Play a trace.

    Args:
        trace: what arrives.
        world: what is the same for all policies.
        policy: what decides the pods.
        seed: of what happens by chance: when the controllers look, how long pods start. The same
            for every policy, so that they meet the same luck.
    """
    chance = random.Random(f"world {seed}")  # noqa: S311 (no secrets)
    begin = trace.arrivals[0] if trace.arrivals else 0.0
    looks_at = begin + chance.uniform(0, world.pace.every)
    reads_at = begin + chance.uniform(0, world.statistics_interval)
    syncs_at = begin + chance.uniform(0, world.sync_period)
    scaling = world.queue.scaling
    hpa = Hpa(min=scaling.min, max=scaling.max, behavior=world.behavior)
    fleet = Fleet(trace, world, _first_pods(trace, world, policy), chance)
    reader = Reader(world)
    statistics: Statistics | None = None
    load, used, looks, changes = None, _Cpu(), [], []
    while True:
        now = min(looks_at, reads_at, syncs_at)
        fleet.advance(now)
        if now == reads_at:
            statistics = read_statistics(fleet, statistics)
            used.take(fleet, trace, world)
            looks.append(Look(now, fleet.pods, fleet.ready, statistics.ready))
            reads_at += world.statistics_interval
        if now == looks_at:
            looks_at += world.pace.every + LOOK_TAKES
            if policy.measures and statistics is not None:
                load = reader.look(now, statistics, *fleet.take_finished())
        if now == syncs_at:
            syncs_at += world.sync_period
            if statistics is not None and not isinstance(policy, Fixed):
                seen = Seen(statistics, load, used.a_pod, fleet.ready, fleet.pods)
                wanted = hpa.decide(now, fleet.pods, policy.recommend(world, seen, fleet.pods))
                if wanted != fleet.pods:
                    changes.append((now, wanted - fleet.pods))
                    fleet.scale(wanted)
        over = now - trace.seconds
        if over >= 0 and (fleet.finished or over > LONGEST_TAIL):
            return outcome_of(trace, world, policy, fleet, looks, changes)


def _first_pods(trace: Trace, world: World, policy: Policy) -> int:
    """What the load of the warm-up needs, so that no policy starts with a backlog."""
    if isinstance(policy, Fixed):
        return policy.pods
    first = trace.runtimes[: bisect_left(trace.arrivals, 0.0)]
    span = -min(0.0, trace.arrivals[0]) if trace.arrivals else 0.0
    slots = sum(first) / span / 0.7 if span else 0.0
    scaling = world.queue.scaling
    return max(scaling.min, min(scaling.max, ceil(slots / world.concurrency)))


@dataclass(slots=True)
class _Cpu:
    """What metrics-server would say: a pod's use, averaged over the last fifteen seconds."""

    _last: tuple[float, ...] = ()

    def take(self, fleet: Fleet, trace: Trace, world: World) -> None:
        """Add one look. A job that waits for a slow dependency computes no more than before."""
        used = fleet.busy * world.cpu_share / trace.slow(fleet.now)
        self._last = (*self._last[-2:], used / max(1, fleet.ready))

    @property
    def a_pod(self) -> float:
        """Processors."""
        return sum(self._last) / len(self._last) if self._last else 0.0
