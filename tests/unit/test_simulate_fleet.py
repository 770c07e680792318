"""The queue and its workers: who starts when, and what ending pods do."""

from __future__ import annotations

import random
from math import exp
from typing import TYPE_CHECKING

import pytest

from laneway.policy.queues import Queue
from laneway.scaling.simulate.fleet import Fleet
from laneway.scaling.simulate.trace import Trace
from laneway.scaling.simulate.world import World

if TYPE_CHECKING:
    from collections.abc import Sequence


def world(*, concurrency: int = 1, grace: str = "30s", start: float = 10) -> World:
    queue = Queue.model_validate(
        {
            "name": "high",
            "summary": "x",
            "service_level": "1s",
            "worker": {"concurrency": concurrency, "grace_period": grace},
        }
    )
    return World(queue=queue, pod_start=(start, start))


def fleet(jobs: Sequence[tuple[float, float]], pods: int = 1, **about: object) -> Fleet:
    trace = Trace("t", 100, [at for at, _ in jobs], [runtime for _, runtime in jobs], [])
    return Fleet(trace, world(**about), pods, random.Random(1))  # type: ignore[arg-type]


def test_a_job_starts_at_once_or_when_a_slot_is_free() -> None:
    one = fleet([(0, 5), (1, 5), (12, 1)])
    one.advance(20)
    assert one.starts == [0, 5, 12]
    two = fleet([(0, 5), (1, 5), (2, 1)], concurrency=2)
    two.advance(20)
    assert two.starts == [0, 1, 5]


def test_what_it_counts_in_between() -> None:
    one = fleet([(0, 5), (1, 5), (3, 5)])
    one.advance(2)
    assert (one.published, one.backlog, one.busy, one.ready) == (2, 1, 1, 1)
    one.advance(5.5)
    assert (one.published, one.backlog, one.busy) == (3, 1, 1)
    one.advance(30)
    assert (one.backlog, one.busy, one.finished) == (0, 0, True)


def test_a_new_pod_takes_jobs_when_it_has_started() -> None:
    one = fleet([(0, 50), (1, 1), (2, 1)])
    one.advance(3)
    one.scale(2)
    assert (one.pods, one.ready, one.busy, one.backlog) == (2, 1, 1, 2)
    one.advance(30)
    assert one.starts == [0, 13, 14]
    assert one.ready == 2


def test_a_pod_that_has_not_started_goes_first_and_at_once() -> None:
    one = fleet([(0, 50), (1, 1)])
    one.advance(3)
    one.scale(3)
    one.scale(1)
    assert (one.pods, one.ready, one.busy) == (1, 1, 1)
    one.advance(60)
    assert one.starts == [0, 50]
    assert one.pod_seconds == 60


def test_an_ending_pod_finishes_what_runs_and_is_paid_for_until_then() -> None:
    one = fleet([(0, 20), (1, 1)], pods=1)
    one.advance(5)
    one.scale(0)
    assert one.busy == 1
    one.advance(25)
    assert one.busy == 0
    assert one.pod_seconds == 20
    assert one.starts == [0]


def test_what_outlives_the_grace_period_runs_again() -> None:
    one = fleet([(0, 50), (45, 1)], pods=1, grace="10s")
    one.advance(5)
    one.scale(0)
    one.scale(1)
    one.advance(200)
    assert one.arrivals == [0, 15, 45]
    assert one.runtimes == [50, 50, 1]
    assert one.starts == [0, 15, 65]
    assert one.again == {15}


def test_what_ended_is_counted_once_and_with_its_runtime() -> None:
    one = fleet([(0, 2), (1, 9), (3, 1)], concurrency=3)
    one.advance(4.5)
    # The one that runs began at 1.
    assert one.take_finished() == ((2, 3), 3.5)
    assert one.take_finished() == ((0, 0), 3.5)
    one.advance(20)
    assert one.take_finished() == ((1, 9), 0)


def test_waits_are_those_of_queueing_theory() -> None:
    """M/M/4 at 80 %: Erlang's C and the waits that follow from it."""
    chance = random.Random(7)
    at, jobs = 0.0, []
    for _ in range(400_000):
        at += chance.expovariate(3.2)
        jobs.append((at, chance.expovariate(1)))
    one = fleet(jobs, concurrency=4)
    one.advance(at + 1000)
    waits = [start - arrival for start, (arrival, _) in zip(one.starts, jobs, strict=True)]
    wait_at_all = 0.5964  # Erlang C of 4 servers and 3.2 erlangs
    assert sum(w > 0 for w in waits) / len(waits) == pytest.approx(wait_at_all, rel=0.03)
    longer = wait_at_all * exp(-0.8 * 2)
    assert sum(w > 2 for w in waits) / len(waits) == pytest.approx(longer, rel=0.08)
