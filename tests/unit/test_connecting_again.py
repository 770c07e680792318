"""A broker that is away: a worker tries again without limit, however long it takes.

What a try does is the same the second time and the thousandth, so an outage of seconds
(``integration/test_leaving.py``) stands for one of hours, as long as the tries go on and the waits
between them are bounded. That is what is held here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import kombu.utils.functional
import pytest

from laneway import Laneway
from laneway.worker.consumer import JobConsumer
from laneway.worker.direct import process

if TYPE_CHECKING:
    from conftest import MakePolicy

HOURS = 3 * 3600.0


class LongEnough(Exception):
    """The test has seen enough."""


def test_a_consumer_tries_for_hours(
    make_policy: MakePolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if sum(slept) > HOURS:
            raise LongEnough

    # kombu's own waits between two tries; the tries themselves are real, and refused at once.
    monkeypatch.setattr(kombu.utils.functional, "sleep", sleep)
    monkeypatch.setenv("LANEWAY_BROKER_URL", "amqp://guest:guest@127.0.0.1:1")
    app = Laneway("tests", policy=make_policy(), set_as_current=False)
    app.serve("default")
    consumer = JobConsumer.__new__(JobConsumer)
    consumer.app = app
    consumer.first_connection_attempt = False
    consumer.broker_connection_retry_attempt = 0
    with pytest.raises(LongEnough):
        consumer.ensure_connected(app.connection_for_read())
    # At the longest half a minute after the broker is back.
    assert consumer.broker_connection_retry_attempt >= HOURS / 33


@pytest.mark.parametrize("tries", [10, 60, 10_000, 10**9])
def test_a_process_of_the_direct_pool_waits_five_seconds_at_most(tries: int) -> None:
    assert process._AGAIN.bound(tries) == 5.0
