"""What is measured, in which order and how large: pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from bench.systems import System

Group = Literal["publish", "work", "flood", "growth"]
GROUPS: Final[tuple[Group, ...]] = ("publish", "work", "flood", "growth")


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One number that is told of every system."""

    title: str
    unit: str
    higher_is_better: bool
    group: Group
    digits: int = 0


def _percentiles(key: str, title: str, group: Group) -> dict[str, Measure]:
    return {
        f"{key}_p{percent}": Measure(
            title=f"{title}, p{percent}", unit="ms", higher_is_better=False, group=group, digits=1
        )
        for percent in (50, 95, 99)
    }


#: By key, in the order of the report. ``growth_N`` is made by :func:`measure`.
MEASURES: Final[Mapping[str, Measure]] = {
    "publish_one": Measure(
        title="Publish one: each call waits for its confirm",
        unit="jobs/s",
        higher_is_better=True,
        group="publish",
    ),
    "publish_one_cpu": Measure(
        title="Publish one: the publisher's CPU",
        unit="µs/job",
        higher_is_better=False,
        group="publish",
    ),
    "publish_many": Measure(
        title="Publish many: the best each offers",
        unit="jobs/s",
        higher_is_better=True,
        group="publish",
    ),
    "drain_noop": Measure(
        title="Drain a filled queue: no-op", unit="jobs/s", higher_is_better=True, group="work"
    ),
    "drain_sleep": Measure(
        title="Drain a filled queue: 5 ms asleep",
        unit="jobs/s",
        higher_is_better=True,
        group="work",
    ),
    "drain_cpu": Measure(
        title="Drain a filled queue: 5 ms of CPU",
        unit="jobs/s",
        higher_is_better=True,
        group="work",
    ),
    "startup": Measure(
        title="Start: from the command to the first job",
        unit="s",
        higher_is_better=False,
        group="work",
        digits=2,
    ),
    "memory": Measure(
        title="Memory of the whole worker (PSS)",
        unit="MB",
        higher_is_better=False,
        group="work",
        digits=1,
    ),
    "memory_largest": Measure(
        title="Memory of its largest process (PSS)",
        unit="MB",
        higher_is_better=False,
        group="work",
        digits=1,
    ),
    **_percentiles("latency", "Publish to start at 10 % load (at most 300 jobs/s)", "work"),
    "inversions": Measure(
        title="Priority inversions: less urgent jobs started before a waiting urgent one",
        unit="jobs",
        higher_is_better=False,
        group="work",
        digits=2,
    ),
    "inversions_most": Measure(
        title="Priority inversions: the most for one urgent job",
        unit="jobs",
        higher_is_better=False,
        group="work",
    ),
    **_percentiles("overtake", "Wait of an urgent job behind a backlog in its own queue", "work"),
    **_percentiles("flood", "Wait of high-priority jobs while the low queue is flooded", "flood"),
}


def measure(key: str) -> Measure:
    """The measure of a key.

    Raises:
        KeyError: there is none.
    """
    if key.startswith("growth_"):
        size = int(key.removeprefix("growth_"))
        return Measure(
            title=f"Drain the first jobs of a queue that holds {size:,}",
            unit="jobs/s",
            higher_is_better=True,
            group="growth",
        )
    return MEASURES[key]


@dataclass(frozen=True, kw_only=True)
class Mode:
    """How much is done. Seconds are those of each part of each run of each system."""

    name: Literal["quick", "default", "full"]
    runs: int
    #: Seconds that all may take together; None is no bound.
    budget: float | None
    publish_seconds: float
    #: Seconds that a drain should take at the rate that is expected.
    drain_seconds: float
    #: Seconds of open-loop publishing: at 10 % load, and of urgent jobs into a backlog.
    paced_seconds: float
    #: Jobs in the low queue, jobs a second that flood it, urgent jobs a second, and for how long.
    flood_backlog: int
    flood_rate: int
    urgent_rate: int
    flood_seconds: float
    #: Lengths of the queue, and how many of its first jobs are drained.
    growth_sizes: tuple[int, ...]
    growth_first: int


DEFAULT: Final = Mode(
    name="default",
    runs=5,
    budget=44 * 60.0,
    publish_seconds=2.5,
    drain_seconds=3.0,
    paced_seconds=2.5,
    flood_backlog=100_000,
    flood_rate=2000,
    urgent_rate=25,
    flood_seconds=8.0,
    growth_sizes=(1_000, 10_000, 100_000),
    growth_first=10_000,
)
QUICK: Final = Mode(
    name="quick",
    runs=1,
    budget=160.0,
    publish_seconds=0.7,
    drain_seconds=0.8,
    paced_seconds=0.8,
    flood_backlog=2_000,
    flood_rate=500,
    urgent_rate=25,
    flood_seconds=1.5,
    growth_sizes=(1_000,),
    growth_first=1_000,
)
FULL: Final = Mode(
    name="full",
    runs=7,
    budget=None,
    publish_seconds=6.0,
    drain_seconds=10.0,
    paced_seconds=10.0,
    flood_backlog=100_000,
    flood_rate=2000,
    urgent_rate=25,
    flood_seconds=30.0,
    growth_sizes=(1_000, 10_000, 100_000, 1_000_000),
    growth_first=10_000,
)


@dataclass(frozen=True, kw_only=True)
class Visit:
    """One run of one group of measures on one system."""

    run: int
    group: Group
    system: System


def plan(systems: Sequence[System], groups: Sequence[Group], runs: int) -> Iterator[Visit]:
    """Every visit in its order: the systems alternate, and each run begins with another one.

    Args:
        systems: those that are there.
        groups: what is measured.
        runs: how often.
    """
    for run in range(runs):
        for group in groups:
            members = [system for system in systems if takes_part(system, group, systems)]
            turn = run % len(members) if members else 0
            for system in members[turn:] + members[:turn]:
                yield Visit(run=run, group=group, system=system)


def takes_part(system: System, group: Group, systems: Sequence[System]) -> bool:
    """Whether a group measures this system.

    The yardstick only publishes. Systems that differ in their workers alone publish alike, so only
    the first of them does. How the length of the queue changes the cost is asked of the first
    Laneway and of the Celery with the most jobs held, each of those that are there.
    """
    if group == "publish":
        alike = [s for s in systems if (s.app, s.row) == (system.app, system.row)]
        return system is alike[0]
    if system.app is None:
        return False
    if group != "growth":
        return True
    laneway = [s for s in systems if s.pool is not None]
    celery = [s for s in systems if s.app == "celery_app" and s.row == "equal"]
    return system in (laneway[:1] + celery[-1:])


def size(rate: float, seconds: float, *, least: int = 100, most: int = 100_000) -> int:
    """How many jobs take so long at this rate, within bounds."""
    return max(least, min(most, round(rate * seconds)))
