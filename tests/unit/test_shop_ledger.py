from __future__ import annotations

import threading
from typing import Any

from laneway.facts import Fact, FactKind
from laneway.policy import load_policy
from shop.ledger import Expected, Ledger, expectations
from shop.workload import Chain, Chord, Job, Linked, Workload


def expected(job_id: str, *after: str, queue: str = "high") -> Expected:
    return Expected(id=job_id, task="t", queue=queue, priority=4, why="so", after=after)


def fact(kind: FactKind, job_id: str | None, **fields: Any) -> Fact:
    return Fact(kind=kind, at=0.0, task_id=job_id, task="t", **fields)


def test_a_job_is_open_until_it_ended() -> None:
    ledger = Ledger([expected("a"), expected("b")])
    for kind in ("published", "received", "started", "retried", "started"):
        ledger.note(fact(kind, "a"))
        assert ledger.open() == 2
    ledger.note(fact("succeeded", "a"))
    assert ledger.open() == 1
    ledger.note(fact("failed", "b"))
    assert ledger.open() == 0


def test_each_way_to_end_is_an_end() -> None:
    kinds: tuple[FactKind, ...] = ("succeeded", "failed", "rejected", "quarantined")
    for kind in kinds:
        ledger = Ledger([expected("a")])
        ledger.note(fact(kind, "a"))
        assert ledger.open() == 0


def test_what_follows_a_failed_job_is_not_waited_for() -> None:
    ledger = Ledger([expected("a"), expected("b", "a"), expected("c", "b"), expected("d")])
    ledger.note(fact("failed", "a"))
    assert ledger.open() == 1
    assert ledger.ended() == {"high": 3}


def test_what_follows_a_job_that_went_well_is_waited_for() -> None:
    ledger = Ledger([expected("a"), expected("b", "a")])
    ledger.note(fact("succeeded", "a"))
    assert ledger.open() == 1


def test_a_second_run_that_goes_well_opens_what_follows_again() -> None:
    ledger = Ledger([expected("a"), expected("b", "a")])
    ledger.note(fact("failed", "a"))
    ledger.note(fact("succeeded", "a"))
    ledger.note(fact("received", "b"))
    assert ledger.open() == 1
    ledger.note(fact("succeeded", "b"))
    assert ledger.open() == 0


def test_a_late_fact_of_a_job_that_ended_opens_nothing() -> None:
    ledger = Ledger([expected("a")])
    ledger.note(fact("succeeded", "a"))
    ledger.note(fact("published", "a"))
    assert ledger.open() == 0


def test_jobs_of_nobody_are_told_apart() -> None:
    ledger = Ledger([expected("a")])
    ledger.note(fact("succeeded", "x"))
    ledger.note(fact("started", "y"))
    ledger.note(Fact(kind="quarantined", at=0.0))
    ledger.note(Fact(kind="worker_ready", at=0.0))
    assert ledger.open() == 1
    assert ledger.strangers() == {"succeeded: t": 1, "quarantined: a message without a task": 1}


def test_a_story_counts_what_was_heard() -> None:
    ledger = Ledger([expected("a")])
    ledger.note(fact("started", "a", attempt=1, wait=0.5))
    ledger.note(fact("retried", "a", attempt=1))
    ledger.note(fact("started", "a", attempt=2, wait=0.25))
    ledger.note(fact("succeeded", "a", attempt=2))
    ((_job, story),) = ledger.stories()
    assert (story.waits, story.retries, story.duplicates) == ([0.5, 0.25], 1, 0)


def test_a_job_that_ran_twice_is_a_duplicate() -> None:
    ledger = Ledger([expected("a"), expected("b"), expected("c")])
    for _ in range(2):
        ledger.note(fact("started", "a", attempt=1))
        ledger.note(fact("succeeded", "a", attempt=1))
    for _ in range(3):  # killed twice before it ended
        ledger.note(fact("started", "b", attempt=1))
    ledger.note(fact("started", "c", attempt=1))
    assert [story.duplicates for _job, story in ledger.stories()] == [1, 2, 0]


def test_a_second_end_is_a_duplicate_also_when_its_start_was_not_heard() -> None:
    ledger = Ledger([expected("a")])
    for _ in range(2):
        ledger.note(fact("succeeded", "a"))
    assert [story.duplicates for _job, story in ledger.stories()] == [1]


def test_what_was_handed_out_changes_no_more() -> None:
    ledger = Ledger([expected("a")])
    ledger.note(fact("started", "a", wait=1.0))
    ((_job, story),) = ledger.stories()
    ledger.note(fact("succeeded", "a"))
    assert (story.finals, story.waits) == ([], [1.0])


def test_facts_may_come_from_many_threads() -> None:
    jobs = [expected(str(number)) for number in range(400)]
    ledger = Ledger(jobs)

    def tell(part: list[Expected]) -> None:
        for job in part:
            ledger.note(fact("started", job.id))
            ledger.note(fact("succeeded", job.id))

    threads = [threading.Thread(target=tell, args=(jobs[start::4],)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ledger.open() == 0
    assert ledger.ended() == {"high": 400}


def test_the_policy_decides_what_is_expected() -> None:
    validate = Job(id="1", task="shop.orders.validate")
    charge = Job(id="2", task="shop.payment.charge", fails_with="CardDeclined")
    dispatch = Job(id="3", task="shop.shipping.dispatch", priority=8)
    parts = tuple(Job(id=f"p{number}", task="shop.reports.month_sum") for number in range(2))
    body = Linked(
        (Job(id="c", task="shop.reports.combine"), Job(id="x", task="shop.payroll.bonus"))
    )
    workload = Workload(
        flows=(Chain((validate, charge, dispatch)), Chord(parts, body)), report_totals={}
    )
    jobs = {job.id: job for job in expectations(workload, load_policy().router)}
    assert [(job.queue, job.priority) for job in jobs.values()] == [
        ("default", 4),
        ("high", 4),
        ("default", 8),
        ("low", 2),
        ("low", 2),
        ("low", 2),
        ("secure", 2),  # its route says no priority: that of the job before it
    ]
    assert jobs["2"].after == ("1",)
    assert jobs["c"].after == ("p0", "p1")
    assert jobs["x"].after == ("c",)
    assert jobs["2"].fails_with == "CardDeclined"
    assert "shop.payment.*" in jobs["2"].why
