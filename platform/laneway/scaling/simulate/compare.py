"""All policies on one kind of trace: tuned on one seed, then judged on others as well."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from statistics import median
from typing import TYPE_CHECKING, Final

from laneway.scaling.simulate.policies import Laneway
from laneway.scaling.simulate.run import simulate
from laneway.scaling.simulate.tune import TUNED, tune

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from laneway.scaling.simulate.outcome import Outcome
    from laneway.scaling.simulate.trace import Trace
    from laneway.scaling.simulate.world import World


@dataclass(frozen=True, slots=True)
class Spread:
    """One number of several runs."""

    median: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Row:
    """One policy: an outcome for each seed, the one that it was tuned on first."""

    name: str
    setting: str
    outcomes: Sequence[Outcome]

    def spread(self, number: Callable[[Outcome], float]) -> Spread:
        """Of one number over the seeds."""
        values = [number(outcome) for outcome in self.outcomes]
        return Spread(median(values), min(values), max(values))


@dataclass(frozen=True, slots=True)
class Comparison:
    """All policies on one kind of trace."""

    trace: Trace
    rows: Sequence[Row]


#: Runs that a comparison takes, about: what a progress bar counts to.
RUNS: Final = 45


def compare_policies(
    make: Callable[[int], Trace],
    world: World,
    seeds: Sequence[int],
    *,
    away: tuple[float, float] | None = None,
    tried: Callable[[], None] = lambda: None,
) -> Comparison:
    """Tune each policy on the trace of the first seed, and play those of all.

    Args:
        make: the trace of a seed.
        world: around the queue.
        seeds: at least one. The others are held out: no threshold has seen them.
        away: seconds of the trace from which and until which Laneway's scaler is silent, in the row
            that shows what is left then; None: all of it.
        tried: called after each run.
    """
    first, *others = seeds
    trace = make(first)
    outcomes = {name: [tune(name, trace, world, first, tried=tried)] for name in TUNED}
    silent = Laneway(name="laneway away", away=away or (-inf, inf))
    for untuned in (Laneway(), silent):
        outcomes[untuned.name] = [simulate(trace, world, untuned, first)]
    for seed in others:
        held_out = make(seed)
        for runs in outcomes.values():
            runs.append(simulate(held_out, world, runs[0].policy, seed))
            tried()
    return Comparison(
        trace,
        [Row(name, runs[0].policy.setting, runs) for name, runs in outcomes.items()],
    )
