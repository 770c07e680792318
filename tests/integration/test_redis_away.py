"""Redis gone: jobs go on, each once; what they returned appears when Redis is back."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from celery import chord
from redis import Redis

from laneway.local import start_redis
from laneway.topology import DEAD_INBOX
from support.brokers import depth
from support.workers import WorkerProcess, environment, make_app

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from laneway.broker import BrokerAddress
    from laneway.local import PrivateRedis, RunDirectory

    Outage = Callable[[PrivateRedis], AbstractContextManager[None]]

pytestmark = pytest.mark.integration

PATIENCE = 60
POOLS = ("prefork", "direct", "threads")
#: Seconds that jobs without work may take together while Redis is away: what one process waits for
#: it at most, twice, and a slow machine.
BRIEF = 20
JOBS = 30


@contextmanager
def killed(redis: PrivateRedis) -> Iterator[None]:
    """Its port refuses; it comes back with nothing in it."""
    redis.stop()
    yield
    redis.begin()


@contextmanager
def paused(redis: PrivateRedis) -> Iterator[None]:
    """Connections stay open and get no answer."""
    redis.pause()
    yield
    redis.resume()


@contextmanager
def full(redis: PrivateRedis) -> Iterator[None]:
    """It answers, and takes nothing."""
    with Redis.from_url(redis.url) as client:
        client.config_set("maxmemory", 1)
        yield
        client.config_set("maxmemory", 0)


@contextmanager
def read_only(redis: PrivateRedis) -> Iterator[None]:
    """It is a replica now, of a server that is not there."""
    with Redis.from_url(redis.url) as client:
        client.replicaof("127.0.0.1", "1")
        yield
        client.replicaof("NO", "ONE")


@pytest.fixture
def redis(run_directory: RunDirectory) -> Iterator[PrivateRedis]:
    """A Redis of the test's own."""
    with start_redis(run_directory) as server:
        yield server


def worker_of(topology: BrokerAddress, redis: PrivateRedis, pool: str) -> WorkerProcess:
    env = environment(topology, redis.url)
    return WorkerProcess("low", env, "--pool", pool, "--concurrency", "2")


def started(worker: WorkerProcess) -> Counter[str | None]:
    return Counter(fact.task_id for fact in worker.of("started"))


@pytest.mark.parametrize(
    ("pool", "outage"),
    [
        *((pool, outage) for pool in POOLS for outage in (killed, paused)),
        ("prefork", read_only),
        ("direct", full),
        ("direct", read_only),
    ],
)
def test_jobs_go_on_and_their_results_come_later(
    topology: BrokerAddress, redis: PrivateRedis, pool: str, outage: Outage
) -> None:
    publisher = make_app(topology)
    with worker_of(topology, redis, pool) as worker:
        first = publisher.send_task("plain.add", (1, 1), queue="low")
        worker.wait_for("succeeded", task_id=first.id)
        with outage(redis):
            kept = [publisher.send_task("plain.add", (n, 1), queue="low") for n in range(JOBS)]
            ignored = [
                publisher.send_task("plain.add", (n, 1), queue="low", ignore_result=True)
                for n in range(JOBS)
            ]
            failing = publisher.send_task("plain.fail", ("its words",), queue="low")
            worker.wait_for("succeeded", 1 + len(kept) + len(ignored), timeout=BRIEF)
            worker.wait_for("failed", task_id=failing.id, timeout=BRIEF)
        reader = make_app(topology, redis.url)
        for number, job in enumerate(kept):
            assert reader.AsyncResult(job.id).get(timeout=PATIENCE) == number + 1
        with pytest.raises(ValueError, match="its words"):
            reader.AsyncResult(failing.id).get(timeout=PATIENCE)
        ids = {job.id for job in (first, *kept, *ignored, failing)}
        assert started(worker) == dict.fromkeys(ids, 1)
        assert [fact.task_id for fact in worker.of("dead_lettered")] == [failing.id]
        assert not worker.of("result_lost")
        if pool != "direct":
            # (Whose processes give back what they hold ahead when a job takes longer than others.)
            assert not any(fact.redelivered for fact in worker.of("started"))
        assert worker.stop(timeout=BRIEF) == 0
    assert depth(topology, "low") == depth(topology, DEAD_INBOX) == 0


@pytest.mark.parametrize(
    ("pool", "outage"),
    [("prefork", paused), ("direct", paused), ("direct", full), ("threads", read_only)],
)
def test_a_chord_whose_members_end_meanwhile_is_completed(
    topology: BrokerAddress, redis: PrivateRedis, pool: str, outage: Outage, tmp_path: Path
) -> None:
    app = make_app(topology, redis.url)
    gate = tmp_path / "open"
    with worker_of(topology, redis, pool) as worker:
        member = app.signature("plain.hold", (str(gate),), queue="low", priority=7)
        body = app.signature("plain.where", queue="high")
        result = chord([member, member.clone()], body, app=app)()
        worker.wait_for("started", 2)
        with outage(redis):
            gate.touch()
            worker.wait_for("succeeded", 2, timeout=BRIEF)
        with worker_of_high(topology, redis):
            assert result.get(timeout=PATIENCE)["priority"] == 7
        assert not worker.of("result_lost")
        assert max(started(worker).values()) == 1


def worker_of_high(topology: BrokerAddress, redis: PrivateRedis) -> WorkerProcess:
    return WorkerProcess("high", environment(topology, redis.url))


def test_a_chord_that_redis_forgot_is_told(
    topology: BrokerAddress, redis: PrivateRedis, tmp_path: Path
) -> None:
    app = make_app(topology, redis.url)
    gate = tmp_path / "open"
    with worker_of(topology, redis, "direct") as worker:
        member = app.signature("plain.hold", (str(gate),), queue="low")
        chord([member, member.clone()], app.signature("plain.where", queue="low"), app=app)()
        worker.wait_for("started", 2)
        with killed(redis):
            gate.touch()
            worker.wait_for("succeeded", 2, timeout=BRIEF)
        told = worker.wait_for("result_lost")
        assert "forgotten its chord" in (told[0].reason or "")


@pytest.mark.parametrize("pool", POOLS)
def test_who_leaves_meanwhile_leaves_in_time_and_says_what_is_lost(
    topology: BrokerAddress, redis: PrivateRedis, pool: str
) -> None:
    publisher = make_app(topology)
    with worker_of(topology, redis, pool) as worker:
        first = publisher.send_task("plain.add", (1, 1), queue="low")
        worker.wait_for("succeeded", task_id=first.id)
        with paused(redis):
            sent = [publisher.send_task("plain.add", (n, 1), queue="low") for n in range(JOBS)]
            worker.wait_for("succeeded", 1 + JOBS, timeout=BRIEF)
            began = time.monotonic()
            assert worker.stop(timeout=PATIENCE) == 0
            assert time.monotonic() - began < BRIEF
        told = worker.of("result_lost")
        assert {fact.task_id for fact in told} == {job.id for job in sent}
        assert {fact.task for fact in told} == {"plain.add"}
    assert depth(topology, "low") == depth(topology, DEAD_INBOX) == 0


def test_how_many_a_killed_process_held_is_told(
    topology: BrokerAddress, redis: PrivateRedis
) -> None:
    publisher = make_app(topology)
    with worker_of(topology, redis, "prefork") as worker, killed(redis):
        for number in range(JOBS):
            publisher.send_task("plain.add", (number, 1), queue="low")
        worker.wait_for("succeeded", JOBS, timeout=BRIEF)
        parent = worker.process.pid
        for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
            os.kill(int(child), signal.SIGKILL)
        until = time.monotonic() + BRIEF
        told: list[str] = []
        # One of the two may have run all of them.
        while sum(int(reason.partition(" ")[0]) for reason in told) != JOBS:
            assert time.monotonic() < until, told
            time.sleep(0.1)
            told = [fact.reason or "" for fact in worker.of("result_lost")]
        assert all("killed" in reason for reason in told)


@pytest.mark.parametrize("outage", [killed, paused])
def test_a_service_publishes_meanwhile(
    topology: BrokerAddress, redis: PrivateRedis, outage: Outage
) -> None:
    app = make_app(topology, redis.url)
    with worker_of(topology, redis, "direct") as worker:
        with outage(redis):
            began = time.monotonic()
            sent = [
                app.send_task("plain.add", (1, 1), queue="low"),
                app.send_task("plain.add", (1, 1), queue="low", countdown=1),
                app.signature("plain.add", (1, 1), queue="low").apply_async(),
            ]
            assert time.monotonic() - began < 5
            worker.wait_for("succeeded", len(sent), timeout=BRIEF)
        assert [one.get(timeout=PATIENCE) for one in sent] == [2] * len(sent)


@pytest.mark.parametrize("pool", ["prefork", "direct"])
def test_the_end_of_a_job_that_was_stopped_is_stored_later(
    topology: BrokerAddress, redis: PrivateRedis, pool: str
) -> None:
    """The parent stores it, and goes on."""
    publisher = make_app(topology)
    with worker_of(topology, redis, pool) as worker:
        with paused(redis):
            stopped: Any = publisher.send_task("plain.hang", queue="low")
            worker.wait_for("dead_lettered", task_id=stopped.id, timeout=BRIEF)
            after = publisher.send_task("plain.add", (1, 1), queue="low")
            worker.wait_for("succeeded", task_id=after.id, timeout=BRIEF)
        reader = make_app(topology, redis.url)
        with pytest.raises(Exception, match=r"TimeLimitExceeded\(1"):
            reader.AsyncResult(stopped.id).get(timeout=PATIENCE)
