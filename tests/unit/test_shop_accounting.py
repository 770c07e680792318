from __future__ import annotations

from typing import Any

import pytest

from laneway.facts import Fact, FactKind
from shop.accounting import Account, Failures, Placement, close_books
from shop.ledger import Expected, Ledger


def expected(job_id: str, *after: str, **fields: Any) -> Expected:
    given = {"task": "shop.t", "queue": "high", "priority": 4, "why": "so", **fields}
    return Expected(id=job_id, after=after, **given)


def fact(kind: FactKind, job_id: str, **fields: Any) -> Fact:
    return Fact(
        kind=kind,
        at=0.0,
        task_id=job_id,
        **{"queue": "high", "priority": 4, "attempt": 1, **fields},
    )


def account(jobs: list[Expected], *facts: Fact) -> Account:
    ledger = Ledger(jobs)
    for one in facts:
        ledger.note(one)
    return close_books(ledger)


def ran(job_id: str, end: FactKind = "succeeded", **fields: Any) -> list[Fact]:
    return [
        fact("received", job_id),
        fact("started", job_id, wait=0.5),
        fact(end, job_id, runtime=0.25, **fields),
    ]


def test_all_is_well() -> None:
    got = account([expected("a"), expected("b", "a")], *ran("a"), *ran("b"))
    assert (got.submitted, got.accounted, got.succeeded) == (2, 2, 2)
    assert (got.failed, got.skipped, got.missing, got.retries, got.duplicates) == (0, 0, 0, 0, 0)
    assert got.problems == ()


def test_a_lost_job_is_missing_by_name() -> None:
    got = account([expected("a"), expected("b")], *ran("a"))
    assert (got.submitted, got.accounted, got.missing) == (2, 1, 1)
    assert got.problems == ("shop.t b: missing; no worker of high ever told of it",)


def test_a_job_that_was_started_and_never_ended_is_missing() -> None:
    got = account([expected("a")], fact("received", "a"), fact("started", "a", attempt=2))
    assert got.missing == 1
    assert got.problems == ("shop.t a: missing; last heard of it: started on high, attempt 2",)


def test_what_follows_a_missing_job_is_missing_too() -> None:
    got = account([expected("a"), expected("b", "a")])
    assert (got.submitted, got.missing) == (2, 2)
    assert got.problems[1] == "shop.t b: missing; it follows a, which is missing too"


def test_a_chain_step_lost_on_the_way_is_missing() -> None:
    got = account([expected("a"), expected("b", "a")], *ran("a"))
    assert got.problems == ("shop.t b: missing; no worker of high ever told of it",)


def test_a_planned_failure_is_no_problem_and_ends_its_chain() -> None:
    jobs = [expected("a", fails_with="E"), expected("b", "a"), expected("c", "b")]
    got = account(jobs, *ran("a", "failed", error_type="E", reason="no"))
    assert (got.submitted, got.accounted, got.failed, got.skipped) == (1, 1, 1, 2)
    assert got.problems == ()
    assert got.failures == (Failures(task="shop.t", error="E", jobs=1, planned=1, example="no"),)


def test_a_job_that_started_after_a_failed_one_is_not_skipped() -> None:
    jobs = [expected("a", fails_with="E"), expected("b", "a")]
    got = account(jobs, *ran("a", "failed", error_type="E"), fact("started", "b"))
    assert (got.submitted, got.skipped, got.missing) == (2, 0, 1)


@pytest.mark.parametrize(
    ("fails_with", "end", "problem"),
    [
        (None, ("failed", "E"), "expected success, got E: no"),
        ("E", ("failed", "Other"), "expected to fail with E, got Other: no"),
        ("E", ("succeeded", None), "expected it to fail with E, it succeeded"),
        (None, ("rejected", None), "expected success, got rejected: no"),
        (None, ("quarantined", "KeyError"), "expected success, got KeyError: no"),
    ],
)
def test_another_end_than_planned_is_a_problem(
    fails_with: str | None, end: tuple[FactKind, str | None], problem: str
) -> None:
    kind, error = end
    got = account(
        [expected("a", fails_with=fails_with)], *ran("a", kind, error_type=error, reason="no")
    )
    assert got.problems == (f"shop.t a: {problem}",)
    assert got.missing == 0


def test_an_unplanned_failure_is_told_from_planned_ones() -> None:
    jobs = [expected("a", fails_with="E"), expected("b")]
    facts = [*ran("a", "failed", error_type="E"), *ran("b", "failed", error_type="E")]
    got = account(jobs, *facts)
    assert [(row.jobs, row.planned) for row in got.failures] == [(2, 1)]
    assert len(got.problems) == 1


def test_a_job_that_ran_twice_is_counted_and_is_no_problem() -> None:
    got = account([expected("a")], *ran("a"), *ran("a"))
    assert (got.submitted, got.succeeded, got.duplicates) == (1, 1, 1)
    assert got.problems == ()


def test_the_first_end_counts() -> None:
    got = account([expected("a")], *ran("a"), *ran("a", "failed", error_type="E"))
    assert (got.succeeded, got.failed, got.duplicates) == (1, 0, 1)


def test_retries_are_counted_and_are_not_ends() -> None:
    facts = [fact("started", "a"), fact("retried", "a", error_type="Busy")]
    assert account([expected("a")], *facts).missing == 1
    got = account([expected("a")], *facts, fact("started", "a", attempt=2), fact("succeeded", "a"))
    assert (got.succeeded, got.retries, got.duplicates, got.problems) == (1, 1, 0, ())


@pytest.mark.parametrize(("queue", "priority"), [("low", 4), ("high", 2)])
def test_a_job_that_ran_elsewhere_is_a_problem(queue: str, priority: int) -> None:
    facts = [
        fact("started", "a", queue=queue, priority=priority),
        fact("succeeded", "a", queue=queue, priority=priority),
    ]
    got = account([expected("a")], *facts)
    assert got.problems == (
        f"shop.t a: expected queue high and priority 4 (so), got {queue} and {priority}",
    )
    assert got.placements == (
        Placement(task="shop.t", queue=queue, priority=priority, why="so", jobs=1),
    )


def test_a_job_that_nobody_submitted_is_a_problem() -> None:
    got = account([expected("a")], *ran("a"), *ran("x"), *ran("y"))
    assert got.problems == (
        "ended, but nobody submitted it: succeeded: a message without a task (2 times)",
    )


def test_times_by_queue_and_by_priority_the_most_urgent_first() -> None:
    jobs = [
        expected("a", priority=2),
        expected("b", priority=9),
        expected("c", queue="low", fails_with="E"),
    ]
    facts = [
        fact("started", "a", priority=2, wait=3.0),
        fact("retried", "a", priority=2),
        fact("started", "a", priority=2, wait=1.0, attempt=2),
        fact("succeeded", "a", priority=2, runtime=0.5, attempt=2),
        fact("started", "b", priority=9, wait=2.0),
        fact("succeeded", "b", priority=9, runtime=0.25),
        fact("started", "c", queue="low", wait=4.0),
        fact("failed", "c", queue="low", error_type="E", runtime=0.75),
    ]
    got = account(jobs, *facts)
    assert [(row.queue, row.priority, row.jobs) for row in got.priorities] == [
        ("high", 9, 1),
        ("high", 2, 1),
        ("low", 4, 1),
    ]
    high, low = got.queues
    assert (high.queue, high.priority, high.jobs, high.succeeded, high.retries) == (
        ("high", None, 2, 2, 1)
    )
    assert high.waits == (1.0, 2.0, 3.0)
    assert high.runtimes == (0.25, 0.5)
    assert (low.jobs, low.succeeded, low.failed) == (1, 0, 1)


def test_placements_leave_out_what_never_started() -> None:
    jobs = [expected("a", fails_with="E"), expected("b", "a", task="shop.u")]
    got = account(jobs, *ran("a", "failed", error_type="E"))
    assert [row.task for row in got.placements] == ["shop.t"]
