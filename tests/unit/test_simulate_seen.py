"""What an autoscaler makes of counters."""

from __future__ import annotations

import pytest

from laneway.policy.queues import Queue
from laneway.scaling.need import Load
from laneway.scaling.simulate.seen import Reader, Statistics
from laneway.scaling.simulate.world import World

QUEUE = Queue.model_validate(
    {
        "name": "high",
        "summary": "x",
        "service_level": "1s",
        "scaling": {"expected_runtime": "3s"},
    }
)


def looks(
    world: World, counts: list[int], finished: list[tuple[int, float]] | None = None
) -> list[Load | None]:
    """One look every five seconds, at how many were published until then."""
    reader = Reader.begin(world)
    ended = finished or [(0, 0.0)] * len(counts)
    return [
        reader.look(Statistics(5.0 * step, count, 7, 2, 0.0), done)
        for step, (count, done) in enumerate(zip(counts, ended, strict=True))
    ]


def test_one_look_says_nothing_and_two_give_a_rate() -> None:
    first, second = looks(World(queue=QUEUE), [100, 150])
    assert first is None
    assert second == Load(arrivals=10, runtime=3, busy=2, backlog=7)


def test_arrivals_are_those_of_the_window() -> None:
    counts = [0] * 5 + [60 * step for step in range(1, 14)]
    *_, last = looks(World(queue=QUEUE, arrivals_window=30), counts)
    assert last is not None
    assert last.arrivals == 12


def test_a_rise_is_seen_in_the_shorter_window_and_a_fall_is_not() -> None:
    world = World(queue=QUEUE, arrivals_window=60, rise_window=10)
    calm = [10 * step for step in range(13)]
    rising = looks(world, [*calm, 220, 320])[-1]
    falling = looks(world, [*calm, 120, 120])[-1]
    assert rising is not None
    assert falling is not None
    assert rising.arrivals == 20
    assert falling.arrivals == pytest.approx(100 / 60)


def test_the_runtime_is_the_mean_of_the_window_and_else_the_last_known() -> None:
    world = World(queue=QUEUE, runtime_window=10)
    finished = [(0, 0.0), (2, 1.0), (2, 3.0), (0, 0.0), (0, 0.0), (0, 0.0)]
    runtimes = [load.runtime for load in looks(world, [0] * 6, finished) if load is not None]
    assert runtimes == [0.5, 1.0, 1.5, 1.5, 1.5]
