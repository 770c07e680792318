"""A backlog on one queue never delays another."""

from __future__ import annotations

import copy
import statistics
import uuid
from typing import TYPE_CHECKING

import kombu
import pytest

from support.workers import WorkerProcess, environment, make_app

if TYPE_CHECKING:
    from collections.abc import Callable

    from laneway import Laneway
    from laneway.broker import BrokerAddress
    from laneway.local import PrivateRedis

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.alone]

BACKLOG = 20_000
URGENT = 200
RUNS = 5


def fill(app: Laneway, address: BrokerAddress) -> None:
    """Put the backlog into ``low``: one real message, multiplied with ids of their own."""
    app.send_task("plain.sleep", (0.005,), queue="low", ignore_result=True)
    with kombu.Connection(address.kombu_urls("jobs")) as connection:
        channel = connection.default_channel
        sample = channel.basic_get("low", no_ack=True)
        producer = kombu.Producer(channel)
        for _ in range(BACKLOG):
            headers = copy.copy(sample.headers)
            headers["id"] = headers["root_id"] = str(uuid.uuid4())
            producer.publish(
                sample.body,
                exchange="jobs",
                routing_key="low",
                headers=headers,
                priority=4,
                content_type="application/json",
                content_encoding="utf-8",
                delivery_mode=2,
            )


def p95_of_waits(app: Laneway, worker: WorkerProcess) -> float:
    """Urgent jobs, each after the one before it started: the 95th percentile of their waits."""
    waits = []
    for _ in range(URGENT):
        result = app.send_task("plain.add", (1, 1), queue="high", ignore_result=True)
        [started] = worker.wait_for("started", task_id=result.id)
        assert started.wait is not None
        waits.append(started.wait)
    worker.facts.clear()
    return statistics.quantiles(waits, n=20)[-1]


@pytest.mark.timeout(400)
def test_urgent_jobs_do_not_feel_a_backlog_of_low_ones(
    topology: BrokerAddress, redis: PrivateRedis, record_property: Callable[[str, object], None]
) -> None:
    app = make_app(topology)
    env = environment(topology, redis.url)
    with WorkerProcess("high", env) as high:
        p95_of_waits(app, high)  # warm: connections, imports
        idle = statistics.median(p95_of_waits(app, high) for _ in range(RUNS))
        fill(app, topology)
        with WorkerProcess("low", env) as low:
            low.wait_for("started", 20)
            loaded = statistics.median(p95_of_waits(app, high) for _ in range(RUNS))
            with kombu.Connection(topology.kombu_urls("jobs")) as connection:
                left = connection.default_channel.queue_declare("low", passive=True).message_count
            assert left > 0, "the backlog ended before the last run"
            assert len(low.of("succeeded")) > 100
    record_property("p95_ms", {"idle": idle * 1000, "loaded": loaded * 1000})
    print(f"p95 wait: idle {idle * 1000:.1f} ms, loaded {loaded * 1000:.1f} ms; {left} low left")
    assert loaded <= 2 * idle + 0.005
