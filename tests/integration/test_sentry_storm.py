"""10,000 equal failures are a few events, whose counts add up; another cause does not wait."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from support.faults import APP, POLICY
from support.topology import apply_policy
from support.workers import WorkerProcess, environment, make_app

if TYPE_CHECKING:
    from laneway.broker import BrokerAddress
    from laneway.local import PrivateRedis
    from support.envelopes import EnvelopeSink

pytestmark = [pytest.mark.integration, pytest.mark.broker43, pytest.mark.slow]

FAILURES = 10_000
PROCESSES = 8
MOST_EVENTS = 50


def stands_for(event: dict[str, Any]) -> int:
    """How many failures an event tells of: its own, if it has a letter, and those held back."""
    job = event["contexts"]["job"]
    return int("letter" in job) + int(job.get("held_back") or 0)


def of_task(sink: EnvelopeSink, task: str) -> list[dict[str, Any]]:
    return [event for event in sink.events if event["tags"].get("task") == task]


@pytest.mark.timeout(400)
def test_a_storm(sink: EnvelopeSink, address: BrokerAddress, redis: PrivateRedis) -> None:
    apply_policy(address, POLICY)
    app = make_app(address, redis.url, POLICY)
    env = environment(address, redis.url, POLICY, LANEWAY_SENTRY_DSN=sink.dsn())
    options = ("--pool", "direct", "--concurrency", str(PROCESSES))
    with WorkerProcess("default", env, *options, app=APP) as worker:
        signatures = [app.signature("faults.storm", (number,)) for number in range(FAILURES)]
        app.publish_many(signatures)
        worker.wait_for("failed", FAILURES // 2, timeout=300)
        # In the middle of it: a cause that nobody has seen yet.
        began = time.time()
        calm = app.send_task("faults.calm", (1,), priority=9)
        until = time.monotonic() + 60
        while not of_task(sink, "faults.calm"):
            assert time.monotonic() < until, "the new cause waits for the storm to end"
            time.sleep(0.1)
        [failed] = worker.wait_for("failed", task_id=calm.id)
        [event] = of_task(sink, "faults.calm")
        assert time.time() - began < 60
        assert stands_for(event) == 1
        worker.wait_for("dead_lettered", FAILURES + 1, timeout=300)
        held = len(worker.of("report_held"))
        assert worker.stop() == 0, worker.tail()
        assert failed.at >= began - 1
    storm = of_task(sink, "faults.storm")
    assert len(storm) <= MOST_EVENTS
    assert sum(map(stands_for, storm)) == FAILURES
    assert held == FAILURES - sum(1 for event in storm if "letter" in event["contexts"]["job"])


def test_without_redis_each_process_decides_alone(
    sink: EnvelopeSink, address: BrokerAddress, redis: PrivateRedis
) -> None:
    apply_policy(address, POLICY)
    app = make_app(address, redis.url, POLICY)
    nobody = "redis://127.0.0.1:1/0"
    env = environment(
        address, redis.url, POLICY, LANEWAY_SENTRY_DSN=sink.dsn(), LANEWAY_REDIS_URL=nobody
    )
    with WorkerProcess("default", env, "--pool", "direct", app=APP) as worker:
        app.publish_many([app.signature("faults.storm", (n,)) for n in range(200)])
        worker.wait_for("dead_lettered", 200, timeout=120)
        assert worker.stop() == 0, worker.tail()
    assert len(sink.events) <= MOST_EVENTS
    assert sum(map(stands_for, sink.events)) == 200
