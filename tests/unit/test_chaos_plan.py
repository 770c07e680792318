"""The schedule and the workload of the chaos suite are pure functions of the seed."""

from __future__ import annotations

from collections import Counter

import pytest

from chaos.faults import Faults
from chaos.ledger import QUEUES
from chaos.plan import CLUSTER_FAULTS, FAULTS, plan
from chaos.workload import ALWAYS, COMMON, NUMBERS, STEPS, Kind, calls


def test_a_seed_gives_the_same_faults_again_and_another_seed_gives_others() -> None:
    assert plan(7, 40) == plan(7, 40)
    assert plan(7, 40) != plan(8, 40)


def test_a_longer_schedule_begins_like_the_shorter_one() -> None:
    assert plan(7, 40)[:16] == plan(7, 16)


def test_every_kind_comes_before_any_comes_again() -> None:
    assert {fault.kind for fault in plan(3, len(FAULTS))} == set(FAULTS)
    twice = Counter(fault.kind for fault in plan(3, 2 * len(FAULTS)))
    assert set(twice.values()) == {2}


def test_a_cluster_has_more_kinds_and_they_need_one() -> None:
    count = len(FAULTS) + len(CLUSTER_FAULTS)
    assert {fault.kind for fault in plan(3, count, nodes=3)} == {*FAULTS, *CLUSTER_FAULTS}
    with pytest.raises(ValueError, match="got: kill-two"):
        plan(3, 5, kinds=["kill-two"])


def test_faults_last_as_long_as_their_kind_allows() -> None:
    known = {**FAULTS, **CLUSTER_FAULTS}
    for fault in plan(5, 200, nodes=3, gap=4.0):
        shortest, longest = known[fault.kind]
        assert shortest <= fault.seconds <= longest
        assert 2.0 <= fault.gap <= 6.0


def test_every_kind_can_be_carried_out() -> None:
    for kind in (*FAULTS, *CLUSTER_FAULTS):
        assert callable(getattr(Faults, "_" + kind.replace("-", "_")))


def test_a_seed_gives_the_same_calls_again() -> None:
    assert list(calls(7, 0, 500)) == list(calls(7, 0, 500))
    assert list(calls(7, 0, 500)) != list(calls(8, 0, 500))


def test_producers_publish_different_calls() -> None:
    first, second = ([call.kind for call in calls(7, producer, 500)] for producer in (0, 1))
    assert first != second


def test_no_two_jobs_have_one_number_and_every_kind_is_there() -> None:
    published = [call for producer in (0, 1) for call in calls(7, producer, 20_000)]
    numbers = [job.number for call in published for job in call.jobs]
    assert len(numbers) == len(set(numbers)) >= 40_000
    assert {call.kind for call in published} == set(Kind)
    assert min(n for n in numbers if n >= 20_100) == NUMBERS


def test_calls_are_what_their_kind_says() -> None:
    for call in calls(7, 0, 20_000):
        failures = {job.failures for job in call.jobs}
        queues = {job.queue for job in call.jobs}
        match call.kind:
            case Kind.CHAIN:
                assert len(call.jobs) == STEPS
                assert len(queues) == len(QUEUES)
            case Kind.MANY:
                assert len(queues) == 1
            case Kind.RETRY:
                assert failures <= {1, 2}
            case Kind.FAIL:
                assert failures == {ALWAYS}
            case _:
                assert failures == {0}


def test_only_the_kinds_that_are_asked_for() -> None:
    assert {call.kind for call in calls(7, 0, 5000, COMMON)} == COMMON
