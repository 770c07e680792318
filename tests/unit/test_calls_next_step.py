"""Which publishes of a worker are the next step of finished work, and how they insist."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from laneway.calls.next_step import LONGEST, PAUSE, insist, is_next_step
from laneway.errors import BrokerUnreachable, PublishTimeout, QueueFull, Unroutable


def job(chord: Any = None) -> Any:
    return SimpleNamespace(request=SimpleNamespace(id="job", chord=chord))


def test_what_the_tracer_publishes_is_a_next_step() -> None:
    assert is_next_step("x", {"parent_id": "job"}, job())
    assert is_next_step("job", {}, job())
    assert is_next_step("body", {}, job(chord={"options": {"task_id": "body"}}))


@pytest.mark.parametrize("chord", [None, {}, {"options": None}, {"options": {"task_id": "b"}}, "?"])
def test_what_the_task_s_own_code_publishes_is_none(chord: Any) -> None:
    assert not is_next_step("x", {}, job(chord))
    assert not is_next_step("x", {"parent_id": "another"}, job(chord))
    assert not is_next_step("x", {"parent_id": "job"}, None)


class Broker:
    """Answers one publish after the other."""

    def __init__(self, *answers: Exception | str) -> None:
        self.answers = list(answers)
        self.pauses: list[int | None] = []
        self.now = 0.0

    def publish(self, pause: int | None) -> str:
        self.pauses.append(pause)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def insist(self) -> str:
        return insist(self.publish, clock=lambda: self.now, sleep=self.sleep)


def test_a_full_queue_makes_it_wait_in_the_broker() -> None:
    broker = Broker(QueueFull("full"), "accepted")
    assert broker.insist() == "accepted"
    assert broker.pauses == [None, PAUSE]
    assert broker.now == 0


def test_a_broker_that_is_away_is_waited_for() -> None:
    broker = Broker(
        BrokerUnreachable("gone"), PublishTimeout("late"), QueueFull("full"), "accepted"
    )
    assert broker.insist() == "accepted"
    assert broker.now == 2


def test_it_does_not_wait_for_ever() -> None:
    broker = Broker(BrokerUnreachable("gone"))
    with pytest.raises(BrokerUnreachable):
        broker.insist()
    assert LONGEST <= broker.now <= LONGEST + 2


def test_what_waiting_cannot_change_is_raised_at_once() -> None:
    broker = Broker(Unroutable("no queue"))
    with pytest.raises(Unroutable):
        broker.insist()
    assert broker.now == 0
