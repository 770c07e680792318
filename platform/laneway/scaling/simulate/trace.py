"""What arrives at a queue, second by second: made by a rule and a seed, or read from metrics."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: Seconds of the first second's load that are played before anything is counted, so that no policy
#: is judged by how it was started.
WARM_UP: Final = 360.0

#: Standard deviation of a job's runtime in its mean: most are shorter, a few far longer.
RUNTIME_SPREAD: Final = 1.0


@dataclass(frozen=True, slots=True)
class Trace:
    """Jobs in the order in which they are published. Times are seconds; below 0 is the warm-up."""

    name: str
    #: Seconds that count.
    seconds: float
    #: When each job is published.
    arrivals: list[float]
    #: How long each runs.
    runtimes: list[float]
    #: How much longer jobs take than they compute, in each second, to their usual runtime: a slow
    #: dependency makes 5 of it, and no processor busier.
    slowness: list[float]

    @property
    def counted(self) -> int:
        """Jobs that count."""
        return sum(1 for at in self.arrivals if at >= 0)

    def slow(self, at: float) -> float:
        """:attr:`slowness` at a time; the usual before the beginning and after the end."""
        second = int(at)
        return self.slowness[second] if at >= 0 and second < len(self.slowness) else 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What a bundled trace is made of."""

    #: Jobs a second: the mean of what is usual.
    rate: float
    #: Mean seconds of a job.
    runtime: float
    #: Length in seconds.
    seconds: int = 3600


def _steady(shape: Shape, _: random.Random) -> list[float]:
    return [shape.rate] * shape.seconds


def _diurnal(shape: Shape, _: random.Random) -> list[float]:
    """A day in the length of the trace: from a fifth of the rate to nine fifths."""
    turn = 2 * math.pi / shape.seconds
    return [shape.rate * (1 - 0.8 * math.cos(second * turn)) for second in range(shape.seconds)]


def _burst(shape: Shape, chance: random.Random) -> list[float]:
    """A tenth of the rate; once, nobody knows when, twenty times as much for two minutes."""
    begin = int(chance.uniform(0.3, 0.5) * shape.seconds)
    length = min(120, shape.seconds // 5)
    base = shape.rate / 10
    return [
        base * 20 if begin <= second < begin + length else base for second in range(shape.seconds)
    ]


#: The bundled traces and what each is.
TRACES: Final[Mapping[str, str]] = {
    "steady": "the same rate all the time",
    "diurnal": "a day: from a fifth of the rate to nine fifths and back",
    "burst": "a tenth of the rate, and for two minutes twenty times that",
    "retry-storm": "for five minutes every job fails, and comes back up to three times",
    "slow-dependency": "for ten minutes three of ten jobs take ten times as long",
}

_RATES: Final[Mapping[str, Callable[[Shape, random.Random], list[float]]]] = {
    "diurnal": _diurnal,
    "burst": _burst,
}


def make_trace(name: str, shape: Shape, seed: int) -> Trace:
    """A bundled trace; the same name, shape and seed give the same jobs.

    Raises:
        ValueError: there is no trace of that name.
    """
    if name not in TRACES:
        raise ValueError(f"expected one of {', '.join(TRACES)}, got: {name!r}")
    chance = random.Random(f"{name} {seed}")  # noqa: S311 (jobs, not secrets)
    rates = _RATES.get(name, _steady)(shape, chance)
    arrivals = arrivals_of(rates, chance)
    slowness = [1.0] * shape.seconds
    runtimes = runtimes_of(len(arrivals), shape.runtime, chance)
    if name == "slow-dependency":
        begin, end = _incident(shape, 600, chance)
        slowness[begin:end] = [0.7 + 0.3 * 10] * (end - begin)
        for index, at in enumerate(arrivals):
            if begin <= at < end and chance.random() < 0.3:
                runtimes[index] *= 10
    if name == "retry-storm":
        begin, end = _incident(shape, 300, chance)
        arrivals, runtimes = _with_retries(arrivals, runtimes, begin, end, chance)
    return Trace(name, shape.seconds, arrivals, runtimes, slowness)


def arrivals_of(rates: list[float], chance: random.Random) -> list[float]:
    """A Poisson process with a rate for each second, after a warm-up at the first one's."""
    made: list[float] = []
    add, exponential = made.append, chance.expovariate
    left = exponential(1)
    for second in range(-int(WARM_UP), len(rates)):
        rate = rates[max(second, 0)]
        if rate <= 0:
            continue
        passed = left / rate
        while passed < 1:
            add(second + passed)
            passed += exponential(rate)
        left = (passed - 1) * rate
    return made


def runtimes_of(count: int, mean: float, chance: random.Random) -> list[float]:
    """Log-normal runtimes with this mean, and :data:`RUNTIME_SPREAD` of it as deviation."""
    variance = math.log(1 + RUNTIME_SPREAD**2)
    centre, width = math.log(mean) - variance / 2, math.sqrt(variance)
    draw = chance.lognormvariate
    return [draw(centre, width) for _ in range(count)]


def _incident(shape: Shape, length: int, chance: random.Random) -> tuple[int, int]:
    length = min(length, shape.seconds // 4)
    begin = int(chance.uniform(0.25, 0.45) * shape.seconds)
    return begin, begin + length


def _with_retries(
    arrivals: list[float],
    runtimes: list[float],
    begin: float,
    end: float,
    chance: random.Random,
) -> tuple[list[float], list[float]]:
    """Every job that starts in an incident fails and comes back, three times at the most.

    With full jitter below 1, 2 and 4 seconds, and without a budget: what Laneway's own retries
    would hold back (``[retry] budget``) is the storm that other publishers make.
    """
    jobs = list(zip(arrivals, runtimes, strict=True))
    for first, runtime in list(jobs):
        at = first
        for attempt in range(3):
            if not begin <= at < end:
                break
            at += runtime + chance.uniform(0, 2**attempt)
            jobs.append((at, runtime))
    jobs.sort()
    return [at for at, _ in jobs], [runtime for _, runtime in jobs]
