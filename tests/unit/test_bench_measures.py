"""A system that loses jobs does not get past the measurements, however it loses them."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import pytest

from bench import measures
from bench.ledger import Ledger, Starts
from bench.plan import QUICK, Visit
from bench.results import Results
from bench.systems import SYSTEMS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.stage import Stage

MODE = replace(QUICK, growth_sizes=(50,), growth_first=50)


class FakeStage:
    """A system without a broker: it starts what it was given, or not.

    Args:
        folder: of its ledger.
        forgets: jobs that it drops, by their place.
        repeats: jobs that it starts twice.
        hides: published messages that never arrive in the queue.
    """

    def __init__(self, folder: Path, *, forgets: int = 0, repeats: int = 0, hides: int = 0) -> None:
        self.starts = Starts(folder)
        self._ledger = Ledger(folder)
        self._forgets, self._repeats, self._hides = forgets, repeats, hides
        self._queue: list[int] = []

    def fresh(self) -> None:
        pass

    def ready(self, queue: str) -> int:
        return len(self._queue) if queue == "default" else 0

    def prefill(self, kind: str, queue: str, count: int) -> range:
        self._queue = list(range(count))
        return range(count)

    @contextlib.contextmanager
    def worker(self, queue: str) -> Iterator[None]:
        taken, self._queue = self._queue, []
        kept = taken[self._forgets :]
        for job in kept + kept[: self._repeats]:
            self._ledger.started(job)
        yield

    def wait_for_starts(self, count: int) -> bool:
        return self.starts.count() >= count

    @contextlib.contextmanager
    def publisher(self, **orders: Any) -> Iterator[FakeStage]:
        yield self

    def go(self) -> dict[str, Any]:
        first = len(self._queue) + self._hides
        jobs = range(first, first + 20)
        self._queue += jobs[self._hides :]
        self._hides = 0
        return {"jobs": jobs, "count": 19, "seconds": 1.0, "cpu_seconds": 0.1, "how": "fake"}


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not come is given up at once."""
    monkeypatch.setattr(measures, "_BACK", 0.0)
    monkeypatch.setattr(measures, "_SETTLE", 0.0)


def outcome_of(stage: FakeStage, group: Any) -> measures.Outcome:
    return measures.measure(group, cast("Stage", stage), MODE, {})


def is_red(outcome: measures.Outcome, group: Any) -> bool:
    results = Results(about={})
    system = SYSTEMS[1]
    results.add_system(system)
    visit = Visit(run=0, group=group, system=system)
    results.add(visit, outcome.values, outcome.account, outcome.notes)
    return results.is_red


def test_an_honest_worker_is_exact(tmp_path: Path) -> None:
    outcome = outcome_of(FakeStage(tmp_path), "growth")
    assert outcome.account.is_exact
    assert outcome.account.started == 50
    assert not is_red(outcome, "growth")


def test_a_worker_that_drops_jobs_turns_the_run_red(tmp_path: Path) -> None:
    outcome = outcome_of(FakeStage(tmp_path, forgets=3), "growth")
    assert outcome.account.lost == 3
    assert "growth_50" not in outcome.values
    assert is_red(outcome, "growth")


def test_a_duplicate_does_not_make_up_for_a_lost_job(tmp_path: Path) -> None:
    outcome = outcome_of(FakeStage(tmp_path, forgets=1, repeats=1), "growth")
    assert (outcome.account.lost, outcome.account.duplicated) == (1, 1)
    assert is_red(outcome, "growth")


def test_an_honest_publisher_is_exact(tmp_path: Path) -> None:
    outcome = outcome_of(FakeStage(tmp_path), "publish")
    assert outcome.account.is_exact
    assert outcome.values == {
        "publish_one": 19.0,
        "publish_one_cpu": pytest.approx(0.1 / 19 * 1e6),
        "publish_many": 19.0,
    }


def test_a_publisher_whose_messages_do_not_arrive_turns_the_run_red(tmp_path: Path) -> None:
    outcome = outcome_of(FakeStage(tmp_path, hides=2), "publish")
    assert outcome.account.lost == 2
    assert is_red(outcome, "publish")
