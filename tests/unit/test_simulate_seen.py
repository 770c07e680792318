"""What the control process's own scaler makes of a simulated broker's counters."""

from __future__ import annotations

import pytest

from laneway.policy.queues import Queue
from laneway.scaling import Load, Pace
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
    counts: list[int],
    finished: list[tuple[int, float]] | None = None,
    *,
    window: float = 60,
    running_for: float = 0.0,
) -> list[Load | None]:
    """One look every five seconds, at how many were published until then."""
    reader = Reader(World(queue=QUEUE, pace=Pace(window=window, every=5)))
    ended = finished or [(0, 0.0)] * len(counts)
    return [
        reader.look(5.0 * step, Statistics(5.0 * step, count, 7, 2, 0.0), done, running_for)
        for step, (count, done) in enumerate(zip(counts, ended, strict=True))
    ]


def test_half_a_window_must_be_seen() -> None:
    made = looks([50 * step for step in range(9)])
    assert made[:7] == [None] * 7
    # (The first number may be as old as statistics get.)
    assert made[8] is not None
    assert made[8].arrivals == pytest.approx(10)
    assert (made[8].busy, made[8].backlog) == (2, 7)


def test_a_rise_is_seen_and_a_fall_is_not() -> None:
    calm = [10 * step for step in range(20)]
    rising = looks([*calm, 290, 390, 490])[-1]
    falling = looks([*calm, 190, 190, 190])[-1]
    assert rising is not None
    assert falling is not None
    assert rising.arrivals == 20
    assert falling.arrivals == pytest.approx(90 / 60, rel=0.15)


def test_the_runtime_is_that_of_what_ended_else_of_what_runs_else_the_queues() -> None:
    calm = [10 * step for step in range(20)]

    def runtime(finished: list[tuple[int, float]], running_for: float = 0.0) -> float:
        load = looks(calm, finished, running_for=running_for)[-1]
        assert load is not None
        return load.runtime

    assert runtime([(5, 2.0)] * 20) == pytest.approx(0.4)
    assert runtime([(0, 0.0)] * 20, running_for=8.0) == 4
    fleet = [(20, 10.0), *[(0, 0.0)] * 19]
    assert runtime(fleet) == 0.5
