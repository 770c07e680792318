"""The best threshold of a policy on a trace: a coarse grid, then a finer one around its best."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from laneway.scaling.simulate.policies import (
    CpuHpa,
    Fixed,
    KedaRabbitmq,
    Laneway,
)
from laneway.scaling.simulate.run import simulate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from laneway.scaling.simulate.outcome import Outcome
    from laneway.scaling.simulate.policies import Policy
    from laneway.scaling.simulate.trace import Trace
    from laneway.scaling.simulate.world import World

#: Share of the jobs within the service level that a policy must reach before its cost counts.
GOAL: Final = 0.99


def better(outcome: Outcome) -> tuple[bool, float, float]:
    """The larger, the better: the goal, then its price; without the goal, as near as possible."""
    reached = outcome.within >= GOAL
    within = 1.0 if reached else round(outcome.within, 3)
    return reached, within, -outcome.pod_hours


def tune(
    name: str,
    trace: Trace,
    world: World,
    seed: int,
    *,
    tried: Callable[[], None] = lambda: None,
) -> Outcome:
    """The best outcome that a policy can have on a trace, with the threshold that gives it.

    Args:
        name: one of :data:`TUNED`.
        trace: to tune on.
        world: around it.
        seed: of chance in that world.
        tried: called after each run.

    Raises:
        KeyError: it has nothing to tune.
    """

    def run(policy: Policy) -> Outcome:
        outcome = simulate(trace, world, policy, seed)
        tried()
        return outcome

    if name == "fixed":
        return _fewest(run, world)
    make, grid = _GRIDS[name]
    thresholds = grid(world, trace)
    outcomes = {threshold: run(make(threshold)) for threshold in thresholds}
    best = max(thresholds, key=lambda threshold: better(outcomes[threshold]))
    place = thresholds.index(best)
    near = {thresholds[max(0, place - 1)], thresholds[min(len(thresholds) - 1, place + 1)]}
    for end in near - {best}:
        for share in (1 / 3, 2 / 3):
            between = best + (end - best) * share
            outcomes[between] = run(make(between))
    return max(outcomes.values(), key=better)


def _fewest(run: Callable[[Policy], Outcome], world: World) -> Outcome:
    """The fewest pods that reach the goal, by halving; the most where none do."""
    low, high = 1, world.queue.scaling.max
    best = run(Fixed(high))
    if best.within < GOAL:
        return best
    while low < high:
        middle = (low + high) // 2
        outcome = run(Fixed(middle))
        if outcome.within >= GOAL:
            best, high = outcome, middle
        else:
            low = middle + 1
    return best


def _messages(world: World, _: Trace) -> list[float]:
    """A fraction of a pod's slots for each pod, up to a backlog of ten for each slot."""
    shares = (0.15, 0.25, 0.4, 0.6, 0.8, 1, 1.5, 3)
    return [share * world.concurrency for share in shares]


def _rates(world: World, trace: Trace) -> list[float]:
    """Shares of what a pod can do in a second."""
    mean = sum(trace.runtimes) / max(1, len(trace.runtimes))
    able = world.concurrency / mean if mean else 1.0
    return [share * able for share in (0.1, 0.25, 0.4, 0.6, 0.8, 1)]


def _shares(_: World, __: Trace) -> list[float]:
    return [0.1, 0.25, 0.4, 0.6, 0.8, 0.95]


_GRIDS: Final[
    dict[
        str,
        tuple[Callable[[float], Policy], Callable[[World, Trace], Sequence[float]]],
    ]
] = {
    "hpa cpu": (CpuHpa, _shares),
    "keda length": (partial(KedaRabbitmq, "QueueLength"), _messages),
    "keda rate": (partial(KedaRabbitmq, "MessageRate"), _rates),
    "laneway tuned": (lambda utilisation: Laneway(utilisation, "laneway tuned"), _shares),
}

#: The policies that have something to tune.
TUNED: Final = ("fixed", *_GRIDS)
