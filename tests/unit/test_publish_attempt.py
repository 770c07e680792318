"""One call of publish: what is tried again, what is not, and what is left of the connection."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from amqp.exceptions import MessageNacked, RecoverableConnectionError

from laneway.errors import PublishTimeout, QueueFull
from laneway.publish.attempt import Attempt
from laneway.publish.producer import Alarm


class Producer:
    """Counts how often its connection was dropped."""

    def __init__(self) -> None:
        self.alarm = Alarm()
        self.discarded = 0
        self.__connection__ = SimpleNamespace(connected=True)

    def ready(self) -> bool:
        return not self.discarded

    def discard(self) -> None:
        self.discarded += 1


def attempt(producer: Any, *answers: Any, seconds: float = 10) -> Any:
    left = list(answers)

    def send(_remaining: float) -> Any:
        answer = left.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    return Attempt(where="there", seconds=seconds).run(producer, send)


def test_a_lost_connection_is_tried_again() -> None:
    producer = Producer()
    assert attempt(producer, OSError("gone"), RecoverableConnectionError("gone"), "done") == "done"
    assert producer.discarded == 2


def test_an_answer_is_not_asked_for_twice() -> None:
    producer = Producer()
    with pytest.raises(QueueFull):
        attempt(producer, MessageNacked(), "never")
    assert producer.discarded == 1


def test_the_deadline_ends_it() -> None:
    with pytest.raises(PublishTimeout) as caught:
        attempt(Producer(), TimeoutError(), "never", seconds=0.001)
    assert caught.value.maybe_accepted


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_an_interrupt_leaves_no_late_confirm_behind(interrupt: type[BaseException]) -> None:
    producer = Producer()
    with pytest.raises(interrupt):
        attempt(producer, interrupt(), "never")
    assert producer.discarded == 1
