"""The board: its numbers are exactly what the facts say, for any order of calls."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laneway.facts import Fact, FactKind
from laneway.workloads.board import (
    HISTORY_SECONDS,
    MAX_FAILURES,
    RATE_WINDOW,
    WAIT_WINDOW,
    Board,
    QueueView,
    percentile,
)

START = 1_000_000.0


def fact(kind: FactKind, at: float = 0.0, **fields: Any) -> Fact:
    return Fact(kind=kind, at=START + at, **{"queue": "high", "worker": "w1", **fields})


def board() -> Board:
    return Board(["high", "low"], since=START)


def high(the_board: Board, at: float) -> QueueView:
    return the_board.view(START + at).queues[0]


def run(
    the_board: Board, task_id: str, at: float, wait: float, end: FactKind = "succeeded"
) -> None:
    the_board(fact("started", at, task_id=task_id, wait=wait))
    the_board(fact(end, at, task_id=task_id))


def test_a_new_board_knows_its_queues_and_nothing_of_the_broker() -> None:
    view = board().view(START)
    assert [queue.queue for queue in view.queues] == ["high", "low"]
    assert view.total.ready is None
    assert view.total.rate == 0.0
    assert view.total.wait_p95 is None


def test_a_job_runs_from_its_start_to_its_end() -> None:
    b = board()
    b(fact("started", task_id="1"))
    b(fact("started", task_id="2"))
    assert high(b, 1).running == 2
    b(fact("succeeded", 1, task_id="1"))
    b(fact("retried", 1, task_id="2"))
    assert high(b, 1).running == 0


@pytest.mark.parametrize("end", ["succeeded", "failed", "rejected", "quarantined"])
def test_every_end_counts_as_done(end: FactKind) -> None:
    b = board()
    run(b, "1", 1, 0.1, end)
    assert high(b, 2).done == 1


@pytest.mark.parametrize(
    ("outcome", "shown"), [("expired", 1), ("lost", 1), ("failed", 0), ("rejected", 0)]
)
def test_a_job_that_only_its_dead_letter_tells_of_is_shown(outcome: str, shown: int) -> None:
    b = board()
    b(Fact(kind="dead_lettered", at=1, queue="high", outcome=outcome, error_type="Expired"))
    assert [one.error for one in b.view(2).failures] == ["Expired"] * shown


def test_a_retry_is_no_end() -> None:
    b = board()
    run(b, "1", 1, 0.1, "retried")
    view = high(b, 2)
    assert (view.done, view.retries, view.failures) == (0, 1, 0)


def test_the_rate_is_the_mean_over_the_window() -> None:
    b = board()
    for second in range(60):
        run(b, str(second), second + 0.5, 0.0)
    assert high(b, 60).rate == 1.0
    assert high(b, 60 + RATE_WINDOW).rate == 0.0


def test_a_young_board_divides_by_its_age() -> None:
    b = board()
    for number in range(10):
        run(b, str(number), 1.0, 0.0)
    assert high(b, 2).rate == 5.0
    # Of almost no age it would show an absurd rate; one second is the least.
    assert high(b, 0.001).rate == 10.0


def test_waits_leave_after_their_window() -> None:
    b = board()
    run(b, "1", 0, 100.0)
    run(b, "2", 30, 1.0)
    assert high(b, 31).wait_p95 == 100.0
    assert high(b, WAIT_WINDOW + 1).wait_p95 == 1.0
    assert high(b, WAIT_WINDOW + 31).wait_p95 is None


def test_the_history_holds_whole_seconds_oldest_first() -> None:
    b = board()
    run(b, "1", 9.2, 0.0)
    run(b, "2", 9.9, 0.0)
    run(b, "3", 10.1, 0.0)
    history = high(b, 10.5).history
    assert len(history) == HISTORY_SECONDS
    assert history[-2:] == (0, 2), "the second that still runs is left out"
    assert high(b, 11.5).history[-2:] == (2, 1)


def test_a_worker_that_comes_again_runs_nothing_of_before() -> None:
    b = board()
    b(fact("worker_ready"))
    b(fact("started", task_id="1"))
    b(fact("worker_ready", 5))
    view = high(b, 5)
    assert (view.workers, view.running) == (1, 0)


def test_a_worker_that_stopped_leaves_the_others() -> None:
    b = board()
    b(fact("worker_ready", worker="w1"))
    b(fact("worker_ready", worker="w2"))
    b(fact("started", task_id="1", worker="w2"))
    b(fact("worker_stopped", worker="w1"))
    view = high(b, 1)
    assert (view.workers, view.running) == (1, 1)


def test_a_lost_worker_said_nothing() -> None:
    b = board()
    b(fact("worker_ready"))
    b(fact("started", task_id="1"))
    b.worker_lost("high")
    view = high(b, 1)
    assert (view.workers, view.running) == (0, 0)


def test_what_waits_is_unknown_when_the_broker_does_not_say() -> None:
    b = board()
    b.waiting({"high": 7, "low": 3})
    assert b.view(START).total.ready == 10
    b.waiting({"low": 3})
    assert high(b, 0).ready is None


def test_a_paused_queue_says_so() -> None:
    b = board()
    b(fact("paused"))
    assert high(b, 1).paused
    b(fact("resumed"))
    assert not high(b, 1).paused


def test_the_last_failures_are_kept_newest_first_in_one_line() -> None:
    b = board()
    for number in range(MAX_FAILURES + 2):
        b(fact("failed", number, task=f"t{number}", error_type="Oops", reason="two\n  lines"))
    failures = b.view(START + 10).failures
    assert len(failures) == MAX_FAILURES
    assert failures[0].task == f"t{MAX_FAILURES + 1}"
    assert failures[0].error == "Oops: two lines"


def test_facts_of_other_queues_are_not_counted() -> None:
    b = board()
    b(fact("succeeded", queue="elsewhere", task_id="1"))
    b(fact("succeeded", queue=None, task_id="2"))
    assert b.view(START).total.done == 0


@given(st.lists(st.tuples(st.sampled_from(["high", "low"]), st.floats(0, 100)), max_size=50))
def test_the_total_is_the_sum_of_the_queues(jobs: list[tuple[str, float]]) -> None:
    b = board()
    for number, (queue, at) in enumerate(sorted(jobs, key=lambda job: job[1])):
        b(fact("started", at, queue=queue, task_id=str(number), wait=at))
        b(fact("failed" if number % 3 == 0 else "succeeded", at, queue=queue, task_id=str(number)))
    view = b.view(START + 100)
    assert view.total.done == sum(queue.done for queue in view.queues) == len(jobs)
    assert view.total.failures == sum(queue.failures for queue in view.queues)
    assert view.total.rate == pytest.approx(sum(queue.rate for queue in view.queues))


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(1, 100))
def test_a_percentile_is_a_value_with_so_many_at_or_below(values: list[float], p: float) -> None:
    ordered = sorted(values)
    found = percentile(ordered, p)
    assert found in values
    assert sum(1 for value in values if value <= found) >= len(values) * p / 100 - 1e-9
