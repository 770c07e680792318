"""Jobs that run effectively once, whatever dies and whatever comes twice."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import amqp
import kombu
import pytest
from redis import Redis

from laneway.topology import JOBS_EXCHANGE
from support import once_tasks
from support.brokers import depth
from support.letter_stream import posted_now as of_workers
from support.once_tasks import noted
from support.proxy import Proxy
from support.workers import WorkerProcess, environment, make_app

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from laneway import Laneway
    from laneway.broker import BrokerAddress
    from laneway.local import PrivateRedis

pytestmark = pytest.mark.integration

PATIENCE = 60
LEASE = once_tasks.SHORT.lease


class OnceWorker(WorkerProcess):
    """A worker with the tasks of this module, of the queue that the module's own does not serve."""

    def __init__(self, env: dict[str, str], queue: str = "high") -> None:
        super().__init__(queue, env, app="support.once_tasks:app")


@pytest.fixture
def env(topology: BrokerAddress, redis: PrivateRedis) -> dict[str, str]:
    return environment(topology, redis.url)


@pytest.fixture
def app(topology: BrokerAddress, redis: PrivateRedis) -> Laneway:
    return make_app(topology, redis.url)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "noted"


@pytest.fixture(scope="module")
def worker(module_topology: BrokerAddress, redis: PrivateRedis) -> Iterator[WorkerProcess]:
    with OnceWorker(environment(module_topology, redis.url), "low") as worker:
        yield worker


def send(app: Laneway, name: str, *args: Any, queue: str = "low") -> Any:
    return app.send_task(name, [str(one) for one in args], queue=queue)


def until(true: Callable[[], Any], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, f"not within {PATIENCE} s: {what}"
        time.sleep(0.05)


def copies_of(address: BrokerAddress) -> Callable[[], None]:
    """Take the one message of ``high``; what is returned puts it back, byte for byte, each time."""
    urls = address.kombu_urls("jobs")
    with kombu.Connection(urls) as connection:
        channel = connection.default_channel
        end = time.monotonic() + PATIENCE
        while (message := channel.basic_get("high", no_ack=True)) is None:
            assert time.monotonic() < end
            time.sleep(0.05)

    def put() -> None:
        with kombu.Connection(urls) as connection:
            copy = amqp.Message(message.body, **message.properties)
            connection.default_channel.basic_publish(copy, JOBS_EXCHANGE, "high")

    return put


def test_a_second_delivery_of_a_done_job_does_nothing(
    app: Laneway, topology: BrokerAddress, env: dict[str, str], file: Path
) -> None:
    result = send(app, "once.work", file, queue="high")
    again = copies_of(topology)
    with OnceWorker(env) as worker:
        again()
        value = result.get(timeout=PATIENCE)
        worker.wait_for("succeeded", task_id=result.id)
        again()
        again()
        told = worker.wait_for("rejected", 2, task_id=result.id)
    assert [fact.reason for fact in told] == ["done already"] * 2
    assert len(noted(file, "end")) == 1
    assert app.AsyncResult(result.id).state == "SUCCESS"
    assert app.AsyncResult(result.id).result == value


def test_a_next_step_is_published_once(
    app: Laneway, topology: BrokerAddress, env: dict[str, str], file: Path
) -> None:
    first = app.signature("once.work", (str(file),), queue="high")
    second = app.signature("once.next", (str(file),), queue="high")
    result = (first | second).apply_async()
    again = copies_of(topology)
    with OnceWorker(env) as worker:
        again()
        again()
        result.get(timeout=PATIENCE)
        worker.wait_for("rejected", task_id=result.parent.id)
        time.sleep(1)
        assert len(worker.of("received", task_id=result.id)) == 1
    assert len(noted(file, "next")) == 1


def test_two_deliveries_at_once_do_not_run_beside_each_other(
    app: Laneway, topology: BrokerAddress, env: dict[str, str], file: Path
) -> None:
    result = app.send_task("once.work", (str(file), 5.0), queue="high", priority=7)
    again = copies_of(topology)
    with OnceWorker(env) as first, OnceWorker(env) as second:
        again()
        again()
        result.get(timeout=PATIENCE)
        until(
            lambda: [*first.of("rejected"), *second.of("rejected")], "the other delivery is dropped"
        )
        put_off = [*first.of("retried"), *second.of("retried")]
        facts = [*first.facts, *second.facts]
    # Longer than its lease, which was renewed.
    assert len(noted(file, "start")) == len(noted(file, "end")) == 1
    assert {fact.reason for fact in put_off} == {"another process holds its lease"}
    mine = [fact for fact in facts if fact.task_id == result.id]
    assert {fact.attempt for fact in mine} == {1}
    assert {fact.priority for fact in mine if fact.kind == "received"} == {7}


def test_a_killed_process_gives_its_job_to_another(
    app: Laneway, worker: WorkerProcess, file: Path
) -> None:
    result = app.send_task("once.work", (str(file), 2.0), queue="low")
    until(lambda: noted(file, "start"), "it runs")
    os.kill(noted(file, "start")[0], signal.SIGKILL)
    killed = time.monotonic()
    result.get(timeout=PATIENCE)
    assert time.monotonic() - killed < LEASE + 15
    assert len(noted(file, "start")) == 2
    assert len(noted(file, "end")) == 1


@pytest.mark.broker43
def test_a_job_that_kills_its_process_is_a_dead_letter_all_the_same(
    app: Laneway, topology: BrokerAddress, worker: WorkerProcess, file: Path
) -> None:
    """Each hand-back is a new message to the broker, which counts it from nothing."""
    job = send(app, "once.die", file)
    # Of the broker, or of the worker that counts what the broker has forgotten.
    until(lambda: depth(topology, "dead.inbox") or of_workers(topology, job.id), "a dead letter")
    # The first run, and as many again as the queue's delivery_limit says.
    assert len(noted(file, "start")) == 6


def test_what_had_returned_is_not_run_again_but_its_result_is_stored(
    app: Laneway, worker: WorkerProcess, file: Path
) -> None:
    result = send(app, "once.gone", file)
    assert result.get(timeout=PATIENCE) == str(file)
    assert len(noted(file, "dead")) == 1
    assert len(noted(file, "end")) == 1


def test_a_retry_is_a_run_of_its_own(app: Laneway, worker: WorkerProcess, file: Path) -> None:
    result = app.send_task("once.flaky", (str(file), 2), queue="low")
    assert result.get(timeout=PATIENCE) == 2
    assert len(noted(file, "start")) == 3


def test_jobs_with_one_key_run_once_and_all_get_the_result(
    app: Laneway, worker: WorkerProcess, file: Path
) -> None:
    results = [app.send_task("once.order", (7, str(file), 1.0), queue="low") for _ in range(5)]
    results.append(app.send_task("once.order", (8, str(file)), queue="low"))
    assert [one.get(timeout=PATIENCE) for one in results] == [70] * 5 + [80]
    assert len(noted(file, "end")) == 2


def test_without_redis_a_job_runs_and_a_strict_one_waits(
    topology: BrokerAddress, redis: PrivateRedis, file: Path, tmp_path: Path
) -> None:
    url = urlsplit(redis.url)
    assert url.port
    strict_file = tmp_path / "strict"
    with Proxy("127.0.0.1", url.port) as proxy:
        proxy.refuse()
        away = redis.url.replace(f":{url.port}/", f":{proxy.port}/")
        env = environment(topology, "", LANEWAY_REDIS_URL=away)
        app = make_app(topology)
        with OnceWorker(env) as worker:
            send(app, "once.work", file, queue="high")
            strict = send(app, "once.strict", strict_file, queue="high")
            until(lambda: noted(file, "end"), "it runs")
            worker.wait_for("unguarded", task="once.work")
            [put_off] = worker.wait_for("retried", task_id=strict.id)
            assert put_off.reason is not None
            assert put_off.reason.startswith("Redis does not answer")
            assert noted(strict_file, "start") == []
            proxy.accept()
            until(lambda: noted(strict_file, "start"), "it runs once Redis is back")
    assert len(noted(strict_file, "start")) == 1


def test_marks_end_and_show_nothing_of_other_environments(
    app: Laneway, topology: BrokerAddress, redis: PrivateRedis, worker: WorkerProcess, file: Path
) -> None:
    send(app, "once.order", 7, file).get(timeout=PATIENCE)
    client = Redis.from_url(redis.url)
    try:
        keys = list(client.scan_iter(f"{topology.vhost_prefix}laneway:once:once.order:*"))
        assert keys
        assert all(0 < client.ttl(key) <= 600 for key in keys)
    finally:
        client.close()
