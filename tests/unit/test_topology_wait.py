"""Waiting for the topology: what is enough, when it is over, what is said meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from laneway.errors import BrokerUnreachable
from laneway.topology import Finding, Waited, wait_for_topology

if TYPE_CHECKING:
    from collections.abc import Sequence

MISSING = Finding(severity="fatal", what="there is no queue high", cure="Apply.")
DRIFT = Finding(severity="drift", what="another digest was applied", cure="Apply.")
UNKNOWN = Finding(severity="unknown", what="the broker refuses to say", cure="Give the right.")
AWAY = BrokerUnreachable("nobody answers")

Answer = list[Finding] | BrokerUnreachable


class Time:
    """Goes on only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept += seconds


def wait(
    *answers: Answer, timeout: float = 20.0, drift_after: float | None = None
) -> tuple[Waited, Time, list[str]]:
    """Wait on a broker that gives these answers, the last one for ever."""
    left = list(answers)
    time, lines = Time(), list[str]()

    def look() -> Sequence[Finding]:
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, BrokerUnreachable):
            raise answer
        return answer

    ended = wait_for_topology(
        look,
        timeout=timeout,
        drift_after=drift_after,
        report=lines.append,
        clock=time,
        sleep=time.sleep,
    )
    return ended, time, lines


def test_what_stands_is_not_waited_for() -> None:
    ended, time, lines = wait([])
    assert ended == Waited(findings=(), enough=True)
    assert time.slept == 0
    assert lines == []


def test_it_waits_through_an_absent_broker_and_a_missing_queue_and_says_each_once() -> None:
    ended, _, lines = wait(AWAY, AWAY, [MISSING], [MISSING], [DRIFT], [])
    assert ended.enough
    assert lines == [
        "waiting: nobody answers",
        "waiting: there is no queue high",
        "waiting: another digest was applied",
    ]


def test_what_is_missing_at_the_end_is_not_enough() -> None:
    ended, time, _ = wait([MISSING], timeout=20, drift_after=0)
    assert ended == Waited(findings=(MISSING,), enough=False)
    assert 20 <= time.slept < 23


def test_a_broker_that_never_answers_is_the_error_of_the_last_look() -> None:
    with pytest.raises(BrokerUnreachable, match="nobody answers"):
        wait(AWAY, timeout=20)


def test_drift_is_never_enough_unless_somebody_says_after_what_time() -> None:
    ended, time, _ = wait([DRIFT], timeout=20)
    assert ended == Waited(findings=(DRIFT,), enough=False)
    ended, time, _ = wait([DRIFT], timeout=20, drift_after=6)
    assert ended == Waited(findings=(DRIFT,), enough=True)
    assert 6 <= time.slept < 9


def test_what_the_broker_refuses_to_say_is_waited_for_but_not_for_ever() -> None:
    """An operator makes rights beside the pods; a user without them can work all the same."""
    ended, _, lines = wait([UNKNOWN], [])
    assert ended == Waited(findings=(), enough=True)
    assert lines == ["waiting: the broker refuses to say"]
    ended, _, _ = wait([UNKNOWN], timeout=20)
    assert ended == Waited(findings=(UNKNOWN,), enough=False)
    ended, time, _ = wait([UNKNOWN], timeout=20, drift_after=6)
    assert ended == Waited(findings=(UNKNOWN,), enough=True)
    assert 6 <= time.slept < 9


@pytest.mark.parametrize("between", [[MISSING], AWAY], ids=["missing", "away"])
def test_the_time_of_drift_begins_when_all_that_is_needed_is_there(between: Answer) -> None:
    ended, time, _ = wait([DRIFT], between, [DRIFT], timeout=60, drift_after=6)
    assert ended.enough
    assert time.slept == 10


def test_without_any_time_it_looks_once() -> None:
    ended, time, _ = wait([MISSING], timeout=0)
    assert not ended.enough
    assert time.slept == 0
