"""Jobs taken over the C client: ``librabbitmq://``, an opt-in, on real brokers."""

from __future__ import annotations

import time
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest

from laneway.broker.management import Management
from support.workers import WorkerProcess, environment, make_app

if TYPE_CHECKING:
    from collections.abc import Callable

    from laneway.broker import BrokerAddress
    from laneway.local import PrivateRedis

if find_spec("librabbitmq") is None:
    pytest.skip(
        "the extra laneway[librabbitmq] is not installed (no wheel for this platform)",
        allow_module_level=True,
    )

pytestmark = pytest.mark.integration


@pytest.fixture
def env(topology: BrokerAddress, redis: PrivateRedis) -> dict[str, str]:
    """The environment of a worker that consumes over the C client."""
    usual = environment(topology, redis.url)
    url = usual["LANEWAY_BROKER_URL"].replace("amqp://", "librabbitmq://")
    return {**usual, "LANEWAY_BROKER_URL": url}


def until(done: Callable[[], Any], seconds: float = 40) -> Any:
    """What ``done`` answers as soon as it is something."""
    end = time.monotonic() + seconds
    while not (found := done()):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.1)
    return found


def connections_of_the_c_client(address: BrokerAddress) -> list[str]:
    with Management(address) as management:
        return [
            entry["name"]
            for entry in management._get(f"vhosts/{address.vhost('jobs')}/connections")
            if entry.get("client_properties", {}).get("product") == "rabbitmq-c"
        ]


def unsettled(address: BrokerAddress, queue: str) -> int:
    """The messages of a queue that are not acknowledged yet, waiting or held."""
    with Management(address) as management:
        answer = management._get(f"queues/{address.vhost('jobs')}/{queue}")
    return int(answer.get("messages", -1))


@pytest.mark.parametrize("pool", ["solo", "threads", "prefork"])
def test_a_worker_takes_its_jobs_over_the_c_client(
    pool: str, topology: BrokerAddress, redis: PrivateRedis, env: dict[str, str]
) -> None:
    app = make_app(topology, redis.url)
    with WorkerProcess("low", env, "--pool", pool) as worker:
        [_] = until(lambda: connections_of_the_c_client(topology))
        results = [app.send_task("plain.add", (n, 1), queue="low") for n in range(20)]
        assert [result.get(timeout=40) for result in results] == list(range(1, 21))
        failed = app.send_task("plain.fail", queue="low")
        worker.wait_for("failed", task_id=failed.id, timeout=40)
        # A job publishes a job: confirmed, over py-amqp.
        inner: dict[str, Any] = {"args": [1, 1], "queue": "low"}
        outer = app.send_task("plain.publish", ("plain.add", inner), queue="low")
        assert app.AsyncResult(outer.get(timeout=40)).get(timeout=40) == 2
        until(lambda: unsettled(topology, "low") == 0)


@pytest.mark.parametrize("pool", ["threads", "prefork"])
def test_a_lost_connection_is_made_again(
    pool: str, topology: BrokerAddress, redis: PrivateRedis, env: dict[str, str]
) -> None:
    app = make_app(topology, redis.url)
    with WorkerProcess("low", env, "--pool", pool) as worker:
        assert app.send_task("plain.add", (1, 1), queue="low").get(timeout=40) == 2
        [name] = until(lambda: connections_of_the_c_client(topology))
        with Management(topology) as management:
            management._send("DELETE", f"connections/{name.replace(' ', '%20')}", missing_ok=True)
        assert app.send_task("plain.add", (2, 2), queue="low").get(timeout=40) == 4
        until(lambda: [n for n in connections_of_the_c_client(topology) if n != name])
        assert worker.process.poll() is None


def test_what_was_held_by_a_killed_worker_is_delivered_again(
    topology: BrokerAddress, redis: PrivateRedis, env: dict[str, str]
) -> None:
    app = make_app(topology, redis.url)
    with WorkerProcess("low", env, "--pool", "solo") as worker:
        result = app.send_task("plain.sleep", (3,), queue="low")
        worker.wait_for("started", task_id=result.id, timeout=40)
        worker.process.kill()
    with WorkerProcess("low", env, "--pool", "solo"):
        assert result.get(timeout=40) == 3


def test_a_secure_queue_is_refused(env: dict[str, str]) -> None:
    worker = WorkerProcess("secure", env, "--pool", "solo")
    status = worker.process.wait(40)
    worker.stop()
    assert status != 0
    assert "secure" in worker.tail()
    assert "librabbitmq has no safety from hostile messages" in worker.tail()
