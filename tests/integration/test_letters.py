"""The letters of final failures, pool by pool, and what is no final failure."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, Any

import amqp
import kombu
import pytest

from laneway.deadletter.letter import REPLAYS_HEADER
from laneway.publish.frames import Publish, publish_method
from support.brokers import depth
from support.letter_stream import entries, letters
from support.topology import apply_policy
from support.workers import WorkerProcess, environment, make_app

if TYPE_CHECKING:
    from collections.abc import Iterator

    from laneway import Laneway
    from laneway.broker import BrokerAddress
    from laneway.deadletter.letter import Letter
    from laneway.local import PrivateRedis

pytestmark = pytest.mark.integration

POOLS = ["prefork", "direct", "threads", "solo"]


@pytest.fixture(scope="module", params=POOLS)
def shared_worker(
    request: pytest.FixtureRequest, module_topology: BrokerAddress, redis: PrivateRedis
) -> Iterator[WorkerProcess]:
    size = "1" if request.param == "solo" else "2"
    env = environment(module_topology, redis.url, LANEWAY_RELEASE="shop 4.2")
    with WorkerProcess("low", env, "--pool", request.param, "--concurrency", size) as worker:
        yield worker
        assert worker.stop() == 0


@pytest.fixture
def worker(shared_worker: WorkerProcess, topology: BrokerAddress) -> WorkerProcess:
    del topology  # empties the queues
    shared_worker.facts.clear()
    return shared_worker


@pytest.fixture
def app(topology: BrokerAddress, redis: PrivateRedis) -> Laneway:
    return make_app(topology, redis.url)


def letter_of(topology: BrokerAddress, worker: WorkerProcess, task_id: str) -> Letter:
    """The one letter of a job, which is settled then."""
    [told] = worker.wait_for("dead_lettered", task_id=task_id)
    [letter] = letters(topology, task_id)
    assert (told.letter, told.cause, told.outcome) == (letter.id, letter.cause, letter.outcome)
    assert depth(topology, "dead.inbox") == 0
    return letter


def test_after_the_last_retry(app: Laneway, topology: BrokerAddress, worker: WorkerProcess) -> None:
    job = app.send_task("plain.give_up", queue="low", headers={REPLAYS_HEADER: 2})
    letter = letter_of(topology, worker, job.id)
    assert (letter.id, letter.replays) == (f"{job.id}.2", 2)
    assert (letter.outcome, letter.error_type, letter.attempts) == ("failed", "ConnectionError", 2)
    assert letter.first_at is not None
    assert 1 <= letter.at - letter.first_at < 30
    assert letter.ready_at is not None
    assert letter.first_at - 1 < letter.ready_at <= letter.at
    assert (letter.version, letter.queue) == ("shop 4.2", "low")
    assert letter.worker is not None


def test_what_a_task_rejects(app: Laneway, topology: BrokerAddress, worker: WorkerProcess) -> None:
    job = app.send_task("plain.reject", queue="low")
    letter = letter_of(topology, worker, job.id)
    assert (letter.outcome, letter.error_type) == ("rejected", "LookupError")
    assert letter.message == "not for us"
    assert letter.place == "support.tasks:reject"


def test_a_result_that_cannot_be_stored(
    app: Laneway, topology: BrokerAddress, worker: WorkerProcess
) -> None:
    job = app.send_task("plain.unserialisable", queue="low")
    letter = letter_of(topology, worker, job.id)
    assert letter.outcome == "failed"
    assert letter.error_type is not None
    assert letter.error_type.endswith("EncodeError")


def test_no_memory_is_one_failed_job_and_no_dead_worker(
    app: Laneway, topology: BrokerAddress, worker: WorkerProcess
) -> None:
    job = app.send_task("plain.memory", queue="low")
    assert letter_of(topology, worker, job.id).error_type == "MemoryError"
    assert app.send_task("plain.add", (1, 1), queue="low").get(timeout=60) == 2


def test_what_expired_is_a_letter_and_can_run_again(
    app: Laneway, topology: BrokerAddress, worker: WorkerProcess
) -> None:
    job = str(uuid.uuid4())
    # (Celery also tells the broker when a job expires, and then no worker would see it.)
    past = "2020-01-01T00:00:00+00:00"
    headers = {"task": "plain.add", "id": job, "expires": past}
    late = amqp.Message(
        application_headers=headers, content_type="application/json", content_encoding="utf-8"
    )
    app.publisher("jobs").publish(
        Publish(publish_method("jobs", "low"), late._serialize_properties(), b"[[1, 1], {}, {}]")
    )
    letter = letter_of(topology, worker, job)
    assert (letter.outcome, letter.attempts) == ("expired", 0)
    app.send_task("plain.add", (2, 2), queue="low", task_id=job)
    worker.wait_for("succeeded", task_id=job)


def test_what_is_revoked_is_no_letter(app: Laneway, worker: WorkerProcess) -> None:
    job = app.send_task("plain.add", (1, 1), queue="low", countdown=2)
    app.control.revoke(job.id, reply=True, timeout=5)
    worker.wait_for("rejected", task_id=job.id)
    app.send_task("plain.add", (1, 1), queue="low").get(timeout=60)
    assert not worker.of("dead_lettered")


def test_a_replayed_job_that_succeeds_is_resolved(
    app: Laneway, topology: BrokerAddress, worker: WorkerProcess
) -> None:
    job = app.send_task("plain.flaky", (1, 1), queue="low", headers={REPLAYS_HEADER: 3})
    assert job.get(timeout=60)["attempt"] == 2
    [told] = worker.wait_for("resolved", task_id=job.id)
    assert told.letter == f"{job.id}.2"
    entry = entries(topology)[-1]
    assert (entry.verb, entry.letters, entry.by) == ("resolved", (f"{job.id}.2",), told.worker)


def test_an_unknown_task_waits_for_a_worker_that_knows_it(
    app: Laneway, topology: BrokerAddress, worker: WorkerProcess, redis: PrivateRedis
) -> None:
    job = app.send_task("rough.pid", queue="low", priority=7)
    first, second = worker.wait_for("retried", 2, task_id=job.id)
    assert "rough.pid" in (first.reason or "")
    assert second.at - first.at >= 0.9
    env = environment(topology, redis.url)
    with WorkerProcess("low", env, app="support.rough_tasks:app") as newer:
        # Either may get it each time that it comes again.
        assert job.get(timeout=120)["counted"] == 0
        [started] = newer.wait_for("started", task_id=job.id)
        assert started.priority == 7
    assert not worker.of("quarantined")


@pytest.mark.parametrize("pool", ["prefork", "threads", "direct"])
def test_leaving_waits_for_the_letters(
    app: Laneway, topology: BrokerAddress, redis: PrivateRedis, pool: str
) -> None:
    env = environment(topology, redis.url)
    with WorkerProcess("high", env, "--pool", pool) as worker:
        jobs = [app.send_task("plain.fail", queue="high") for _ in range(30)]
        worker.wait_for("failed", 3)
        assert worker.stop() == 0
        told = {fact.task_id for fact in worker.of("dead_lettered")}
        assert told == {fact.task_id for fact in worker.of("failed")}
    ids = {job.id for job in jobs}
    found = letters(topology, lambda one: one in ids, len(told))
    assert {letter.task_id for letter in found} == told
    assert depth(topology, "high") == len(ids - told)
    assert depth(topology, "dead.inbox") == 0


def test_a_letter_that_cannot_be_posted_is_left_to_the_broker(
    address: BrokerAddress, redis: PrivateRedis
) -> None:
    apply_policy(address)
    app = make_app(address, redis.url)
    env = environment(address, redis.url)
    for pool in ("prefork", "direct"):
        with WorkerProcess("low", env, "--pool", pool) as worker:
            with kombu.Connection(address.kombu_urls("jobs")) as connection:
                connection.default_channel.queue_delete("dead.letters")
            job = app.send_task("plain.fail", queue="low")
            worker.wait_for("failed", task_id=job.id)
            until = time.monotonic() + 30
            while depth(address, "dead.inbox") == 0 and time.monotonic() < until:
                time.sleep(0.1)
            assert depth(address, "dead.inbox") == 1
            assert not worker.of("dead_lettered")
            assert app.send_task("plain.add", (1, 1), queue="low").get(timeout=60) == 2
        apply_policy(address)
        with kombu.Connection(address.kombu_urls("jobs")) as connection:
            connection.default_channel.queue_purge("dead.inbox")


def test_a_secure_letter_tells_nothing(
    app: Laneway, topology: BrokerAddress, redis: PrivateRedis
) -> None:
    env = environment(topology, redis.url)
    with WorkerProcess("secure", env) as worker:
        job = app.send_task("vault.reveal", ("canary-5151",))
        worker.wait_for("dead_lettered", task_id=job.id)
        worker.stop()
    [letter] = letters(topology, job.id, kind="secure")
    assert (letter.error_type, letter.place) == ("ValueError", "support.tasks:reveal")
    assert (letter.message, letter.traceback) == (None, None)
    assert not [line for line in worker.lines if "canary-5151" in line]


@pytest.mark.parametrize("pool", ["prefork", "direct"])
def test_a_hard_limit_is_noted(
    app: Laneway, topology: BrokerAddress, redis: PrivateRedis, pool: str
) -> None:
    env = environment(topology, redis.url)
    with WorkerProcess("default", env, "--pool", pool) as worker:
        job = app.send_task("plain.hang", headers={REPLAYS_HEADER: 1})
        worker.wait_for("dead_lettered", task_id=job.id, outcome="time-limit")
    [letter] = letters(topology, job.id)
    assert letter.id == f"{job.id}.1"
    assert letter.error_type == "billiard.exceptions.TimeLimitExceeded"
    kept: Any = letter.original
    assert (kept is None) == (pool == "direct")
    assert depth(topology, "dead.inbox") == (pool == "direct")
