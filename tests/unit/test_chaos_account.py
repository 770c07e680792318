"""The account of the chaos suite: what is lost, what ran twice, what ran though refused."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest

from chaos.account import Account, account
from chaos.ledger import Entry, Ledger, What, read, size
from chaos.messages import MALFORMED, numbers
from chaos.recovery import Done, late_urgent, recovery, standstill
from chaos.workload import Kind

if TYPE_CHECKING:
    from pathlib import Path


def entry(what: What, job: int = 1, detail: int = 0) -> Entry:
    return Entry(job=job, at=0.0, what=what, detail=detail, queue=0, priority=4)


SENT = (entry(What.SENDING, detail=Kind.ONE), entry(What.ACCEPTED))
RAN = (entry(What.STARTED), entry(What.ENDED))


def settle(*entries: Entry, queued: int = 0, dead: int = 0, letters: bool = True) -> Account:
    """The account of the job 1 alone."""
    return account(
        entries,
        queued={1: queued} if queued else {},
        dead={1: dead} if dead else {},
        letters=letters,
    )


def test_a_job_that_ran_is_no_finding() -> None:
    it = settle(*SENT, *RAN)
    assert (it.accepted, it.succeeded, it.lost, it.duplicated) == (1, 1, 0, 0)
    assert not it.is_red


@pytest.mark.parametrize(
    "seen", [(), (entry(What.STARTED),), (entry(What.STARTED), entry(What.RETRIED))]
)
def test_an_accepted_job_that_never_ended_and_is_nowhere_is_lost(seen: tuple[Entry, ...]) -> None:
    it = settle(*SENT, *seen)
    assert it.lost == 1
    assert it.is_red


def test_it_is_not_lost_while_it_waits_or_is_a_dead_letter() -> None:
    assert settle(*SENT, queued=1).queued == 1
    dead = settle(*SENT, entry(What.STARTED), dead=1)
    assert (dead.dead, dead.dead_unplanned, dead.lost) == (1, 1, 0)


def test_a_job_that_was_made_to_fail_has_to_be_a_dead_letter() -> None:
    made = (entry(What.SENDING, detail=Kind.FAIL), entry(What.ACCEPTED))
    failed = (entry(What.STARTED), entry(What.FAILED))
    assert settle(*made, *failed).lost == 1
    planned = settle(*made, *failed, dead=1)
    assert (planned.dead, planned.dead_unplanned) == (1, 0)
    # Where a system keeps no letters that is its end.
    assert settle(*made, *failed, letters=False).succeeded == 1


def test_nobody_knows_of_a_job_whose_producer_was_told_nothing() -> None:
    sending = entry(What.SENDING, detail=Kind.ONE)
    for told in ((), (entry(What.MAYBE),)):
        never = settle(sending, *told)
        assert (never.maybe, never.never_came, never.lost) == (1, 1, 0)
        assert settle(sending, *told, *RAN).succeeded == 1
        # It was there, and then it was not.
        assert settle(sending, *told, entry(What.STARTED)).lost == 1


@pytest.mark.parametrize("seen", ["started", "queued", "dead"])
def test_a_refused_job_must_never_be_seen(seen: str) -> None:
    refused = (entry(What.SENDING, detail=Kind.ONE), entry(What.REFUSED))
    assert not settle(*refused).is_red
    more = RAN if seen == "started" else ()
    it = settle(*refused, *more, queued=int(seen == "queued"), dead=int(seen == "dead"))
    assert it.ran_though_refused == 1
    assert it.is_red


def test_a_second_start_of_one_attempt_is_a_duplicate_and_a_retry_is_none() -> None:
    started, again = entry(What.STARTED), entry(What.STARTED, detail=1)
    assert settle(*SENT, started, again, entry(What.ENDED)).duplicated == 0
    it = settle(*SENT, started, started, started, entry(What.ENDED))
    assert (it.duplicated, it.duplicated_jobs) == (2, 1)


def test_what_succeeded_and_is_a_dead_letter_is_told() -> None:
    it = settle(*SENT, *RAN, dead=2)
    assert (it.succeeded, it.dead, it.dead_and_succeeded, it.duplicated_letters) == (1, 0, 1, 1)


def test_a_start_that_nobody_published_is_a_fault_of_the_suite() -> None:
    it = settle(*RAN)
    assert it.strange == 1
    assert it.is_red


def test_the_ledger_gives_back_what_was_written(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.note(What.STARTED, 2**40, detail=3, queue=2, priority=9)
    [it] = read(tmp_path)
    assert it._replace(at=0.0) == Entry(2**40, 0.0, What.STARTED, 3, 2, 9)
    before = size(tmp_path)
    ledger.note(What.ENDED, 1)
    assert size(tmp_path) == 2 * before


# -- messages ----------------------------------------------------------------------------------


def celery(number: int, *later: int) -> bytes:
    steps: list[dict[str, Any]] = [
        {"task": "t", "args": [one, 0], "options": {}} for one in reversed(later)
    ]
    return json.dumps([[number, 0], {}, {"chain": steps or None}]).encode()


def test_a_message_is_about_its_own_job_and_those_that_it_carries() -> None:
    assert numbers(celery(5)) == {5}
    assert numbers(celery(5, 6, 7)) == {5, 6, 7}


def test_the_envelope_of_a_dead_letter_is_about_its_original() -> None:
    original = {"body": base64.b64encode(celery(5, 6)).decode(), "properties": ""}
    assert numbers(json.dumps({"v": 1, "original": original}).encode()) == {5, 6}


def test_a_message_of_dramatiq_is_about_its_pipeline() -> None:
    second = {"args": [6], "message_id": "b", "options": {}}
    first = {"args": [5], "message_id": "a", "options": {"pipe_target": second}}
    assert numbers(json.dumps(first).encode()) == {5, 6}


@pytest.mark.parametrize("body", [b"", b"\xff", b"[]", b"{}", b"[1, 2, 3]", b'[["x"], {}, null]'])
def test_what_is_about_no_job_is_about_none(body: bytes) -> None:
    assert numbers(body) == set()


def test_what_was_made_to_be_no_job_is_found() -> None:
    assert numbers(MALFORMED.format(41).encode()) == {41}


# -- recovery ----------------------------------------------------------------------------------

FAULT = Done(number=1, kind="kill-broker", whom="node 1", began=100.0, healed=105.0)


def every(seconds: float, first: float, last: float) -> list[float]:
    return [first + place * seconds for place in range(int((last - first) / seconds))]


def test_recovery_counts_from_the_end_of_the_cause() -> None:
    ends = every(0.05, 90, 100) + every(0.05, 107, 120)
    seconds = recovery(FAULT, ends)
    assert seconds is not None
    # Half of the usual throughput is in the second that begins half a second before it is back.
    assert 1.4 <= seconds <= 2.0


def test_no_recovery_is_none_and_so_is_nothing_to_do() -> None:
    assert recovery(FAULT, every(0.05, 90, 100)) is None
    assert recovery(FAULT, every(0.5, 90, 120)) is None


def test_a_standstill_is_the_longest_time_without_an_end() -> None:
    ends = [90.0, 100.5, 104.5, 106.0, 110.0, 114.0]
    assert standstill(FAULT, ends, 999.0) == 4.0
    # One that never ended counts until the end of what is looked at, or of the load.
    assert standstill(FAULT, [90.0], 999.0) == 15.0
    assert standstill(FAULT, [90.0], 103.0) == 3.0


@pytest.mark.parametrize(
    ("priorities", "late"),
    [([], 0), ([9, 9, 5, 0], 0), ([1, 2, 9, 9, 5, 0], 2), ([9, 0, 8, 7], 1), ([0, 1, 2], 2)],
)
def test_what_must_be_left_out_for_a_strict_order(priorities: list[int], late: int) -> None:
    assert late_urgent(priorities) == late
