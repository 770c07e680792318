"""One trace under one policy, from the first job to the last."""

from __future__ import annotations

import random
from bisect import bisect_left
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Final

from laneway.scaling.simulate.fleet import Fleet
from laneway.scaling.simulate.hpa import Hpa
from laneway.scaling.simulate.keda import POLLING_INTERVAL, Activation, Trigger
from laneway.scaling.simulate.outcome import Outcome, outcome_of
from laneway.scaling.simulate.policies import Fixed
from laneway.scaling.simulate.seen import Reader, Seen, Statistics, read_statistics

if TYPE_CHECKING:
    from laneway.scaling.need import Load
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
    polls_at = begin + POLLING_INTERVAL / 2
    play = _Play(trace, world, policy, chance)
    fleet = play.fleet
    while True:
        now = min(looks_at, reads_at, syncs_at, polls_at)
        fleet.advance(now)
        if now == reads_at:
            reads_at += world.statistics_interval
            play.tell(now)
        if now == looks_at:
            looks_at += world.pace.every + LOOK_TAKES
            play.look(now)
        if now == syncs_at:
            syncs_at += world.sync_period
            play.sync(now)
        if now == polls_at:
            polls_at += POLLING_INTERVAL
            play.poll(now)
        over = now - trace.seconds
        if over >= 0 and (fleet.finished or over > LONGEST_TAIL):
            return outcome_of(trace, world, policy, fleet, play.looks, play.changes)


class _Play:
    """The controllers around the queue: each remembers what it does in the cluster."""

    def __init__(self, trace: Trace, world: World, policy: Policy, chance: random.Random) -> None:
        self._trace, self._world, self._policy = trace, world, policy
        self.fleet = Fleet(trace, world, _first_pods(trace, world, policy), chance)
        self.looks: list[Look] = []
        self.changes: list[tuple[float, int]] = []
        scaling = world.queue.scaling
        # (An HPA has at least one pod; none is KEDA's.)
        self._hpa = Hpa(min=max(1, scaling.min), max=scaling.max, behavior=world.behavior)
        self._activation = Activation(min=scaling.min)
        self._trigger = Trigger()
        self._reader = Reader(world)
        self._statistics: Statistics | None = None
        self._load: Load | None = None
        self._cpu = _Cpu()

    def tell(self, now: float) -> None:
        """The broker's statistics, and those of the pods."""
        fleet = self.fleet
        self._statistics = read_statistics(fleet, self._statistics)
        self._cpu.take(fleet, self._trace, self._world)
        self.looks.append(Look(now, fleet.pods, fleet.ready, self._statistics.ready))

    def look(self, now: float) -> None:
        """Laneway's scaler."""
        if self._policy.measures and self._statistics is not None:
            self._load = self._reader.look(now, self._statistics, *self.fleet.take_finished())

    def sync(self, now: float) -> None:
        """The HPA: more or fewer. Where there are none it does not ask."""
        pods = self.fleet.pods
        if pods and (seen := self._seen(now)) is not None:
            wanted = self._policy.recommend(self._world, seen, pods)
            self._scale(now, self._hpa.decide(now, pods, wanted))

    def poll(self, now: float) -> None:
        """KEDA: from none to one and back."""
        if (seen := self._seen(now)) is not None:
            active = self._policy.active(self._world, seen)
            self._scale(now, self._activation.decide(now, self.fleet.pods, active=active))

    def _seen(self, now: float) -> Seen | None:
        if self._statistics is None or isinstance(self._policy, Fixed):
            return None
        fleet = self.fleet
        return Seen(
            at=now,
            statistics=self._statistics,
            load=self._load,
            trigger=self._trigger,
            cpu=self._cpu.a_pod,
            ready=fleet.ready,
            pods=fleet.pods,
        )

    def _scale(self, now: float, wanted: int) -> None:
        if wanted != self.fleet.pods:
            self.changes.append((now, wanted - self.fleet.pods))
            self.fleet.scale(wanted)


def _first_pods(trace: Trace, world: World, policy: Policy) -> int:
    """What the load of the warm-up needs, so that no policy starts with a backlog."""
    if isinstance(policy, Fixed):
        return policy.pods
    first = trace.runtimes[: bisect_left(trace.arrivals, 0.0)]
    span = -min(0.0, trace.arrivals[0]) if trace.arrivals else 0.0
    slots = sum(first) / span / 0.7 if span else 0.0
    scaling = world.queue.scaling
    return max(1, scaling.min, min(scaling.max, ceil(slots / world.concurrency)))


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
