"""What ``/metrics`` of a worker shows, without a worker."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from laneway.worker.exposition import exposition
from laneway.worker.tally import Tallies


def test_results_that_wait_in_all_processes_are_one_number() -> None:
    tallies = Tallies(3)
    tallies[1].results_waiting, tallies[2].results_waiting = 3, 4
    worker: Any = SimpleNamespace(queue="low", tallies=tallies, concurrency=2, pool=None)
    worker.state = SimpleNamespace(active_requests=set())
    assert 'laneway_results_waiting{queue="low"} 7.0' in exposition(worker).decode()
