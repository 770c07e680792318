"""What a worker calls alive and ready."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from laneway.probes import TURN
from laneway.worker.health import not_alive, not_ready


class Jobs:
    """What Celery takes jobs with."""

    def __init__(self, *queues: str) -> None:
        self.consuming_from = queues.__contains__


def worker(
    turned: float,
    *,
    active: int = 0,
    connected: bool = True,
    told_to: bool = True,
    jobs: Jobs | None = None,
) -> Any:
    return SimpleNamespace(
        queue="low",
        consumer=SimpleNamespace(
            turned_at=turned,
            connection=SimpleNamespace(connected=connected),
            taking_jobs=told_to,
            task_consumer=jobs,
        ),
        state=SimpleNamespace(active_requests=range(active)),
        pool=None,
    )


def test_a_loop_that_turns_is_alive() -> None:
    assert not_alive(worker(time.monotonic())) == []


def test_a_loop_that_stands_still_is_not() -> None:
    [problem] = not_alive(worker(time.monotonic() - TURN - 5))
    assert "has not turned for 35 s" in problem


def test_a_loop_that_runs_a_job_itself_is_left_to_the_jobs_limit() -> None:
    assert not_alive(worker(time.monotonic() - TURN - 5, active=1)) == []


def test_who_is_not_connected_is_not_ready_and_alive() -> None:
    away = worker(time.monotonic(), connected=False)
    assert not_ready(away) == ["not connected to the broker"]
    assert not_alive(away) == []


def test_who_takes_jobs_is_ready() -> None:
    assert not_ready(worker(time.monotonic(), jobs=Jobs("low"))) == []


def test_who_was_told_to_pause_is_ready() -> None:
    assert not_ready(worker(time.monotonic(), told_to=False, jobs=Jobs())) == []
    assert not_ready(worker(time.monotonic(), told_to=False)) == []


@pytest.mark.parametrize("jobs", [None, Jobs(), Jobs("high")])
def test_who_is_connected_and_does_not_consume_is_not_ready(jobs: Jobs | None) -> None:
    idle = worker(time.monotonic(), jobs=jobs)
    assert not_ready(idle) == ["connected to the broker, and not consuming yet"]
    assert not_alive(idle) == []
