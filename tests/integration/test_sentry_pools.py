"""The pools that are not for production report as well: a failure is one event."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.fault_tasks import CANARY
from support.faults import APP, POLICY
from support.letter_stream import letters
from support.topology import apply_policy
from support.workers import WorkerProcess, environment, make_app

if TYPE_CHECKING:
    from laneway.broker import BrokerAddress
    from laneway.local import PrivateRedis
    from support.envelopes import EnvelopeSink

pytestmark = [pytest.mark.integration, pytest.mark.broker43]

TASKS = ("faults.fail", "faults.rejected", "faults.unserialisable")


@pytest.mark.parametrize("pool", ["solo", "gevent", "eventlet"])
def test_a_failure_is_one_event(
    pool: str, address: BrokerAddress, redis: PrivateRedis, sink: EnvelopeSink
) -> None:
    apply_policy(address, POLICY)
    app = make_app(address, redis.url, POLICY)
    env = environment(address, redis.url, POLICY, LANEWAY_SENTRY_DSN=sink.dsn())
    size = "1" if pool == "solo" else "2"
    with WorkerProcess("default", env, "--pool", pool, "--concurrency", size, app=APP) as worker:
        jobs = {str(app.send_task(task, (CANARY,)).id): task for task in TASKS}
        found = letters(address, jobs.__contains__, len(jobs))
        sink.wait_for("event", len(jobs))
        assert worker.stop() == 0, worker.tail()
    told = sorted(event["contexts"]["job"]["letter"] for event in sink.events)
    assert told == sorted(letter.id for letter in found)
    assert {event["tags"]["task"] for event in sink.events} == set(TASKS)
    assert sink.holds(CANARY) == []
