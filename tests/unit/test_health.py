"""What a worker calls alive and ready."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

from laneway.probes import TURN
from laneway.worker.health import not_alive, not_ready


def worker(turned: float, *, active: int = 0, connected: bool = True) -> Any:
    return SimpleNamespace(
        consumer=SimpleNamespace(turned_at=turned, connection=SimpleNamespace(connected=connected)),
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
