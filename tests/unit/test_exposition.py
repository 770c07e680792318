"""What ``/metrics`` of a worker shows, without a worker."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, get_args

from laneway.facts import FactKind
from laneway.worker.exposition import exposition
from laneway.worker.tally import Tallies


def shown_with(tallies: Tallies) -> str:
    worker: Any = SimpleNamespace(queue="low", tallies=tallies, concurrency=2, pool=None)
    worker.consumer = None
    worker.state = SimpleNamespace(active_requests=set())
    return exposition(worker).decode()


def test_results_that_wait_in_all_processes_are_one_number() -> None:
    tallies = Tallies(3)
    tallies[1].results_waiting, tallies[2].results_waiting = 3, 4
    assert 'laneway_results_waiting{queue="low"} 7.0' in shown_with(tallies)


def test_what_never_happened_is_a_zero() -> None:
    """Prometheus sees a number rise only if it has seen it before; the first would be missed."""
    shown = shown_with(Tallies(2))
    for kind in get_args(FactKind):
        assert f'laneway_facts_total{{kind="{kind}",queue="low"}} 0.0' in shown
