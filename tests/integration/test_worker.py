"""A real worker of one queue: what it runs, what it refuses, and what becomes of the rest."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import kombu
import pytest

from laneway import pause
from laneway.broker.management import Management
from support.brokers import depth
from support.letter_stream import letters
from support.workers import WorkerProcess, environment, make_app

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from integration.conftest import TestBroker
    from laneway.broker import BrokerAddress
    from laneway.local import PrivateRedis

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def shared_worker(module_topology: BrokerAddress, redis: PrivateRedis) -> Iterator[WorkerProcess]:
    """One worker of ``default`` for the tests that leave it as it was."""
    with WorkerProcess("default", environment(module_topology, redis.url)) as worker:
        yield worker


@pytest.fixture
def worker(shared_worker: WorkerProcess, topology: BrokerAddress) -> WorkerProcess:
    del topology  # empties the queues
    shared_worker.facts.clear()
    return shared_worker


@pytest.fixture
def env(topology: BrokerAddress, redis: PrivateRedis) -> dict[str, str]:
    return environment(topology, redis.url)


def connect(address: BrokerAddress, kind: str = "jobs") -> kombu.Connection:
    return kombu.Connection(address.kombu_urls(kind))  # type: ignore[arg-type]


def dead_letters(address: BrokerAddress, count: int, kind: str = "jobs") -> list[Any]:
    """Wait for ``count`` messages in the dead inbox and take them."""
    found: list[Any] = []
    until = time.monotonic() + 60
    with connect(address, kind) as connection:
        while len(found) < count and time.monotonic() < until:
            message = connection.default_channel.basic_get("dead.inbox", no_ack=True)
            if message is None:
                time.sleep(0.1)
            else:
                found.append(message)
    assert len(found) == count
    return found


def put_raw(
    address: BrokerAddress, body: bytes, headers: dict[str, Any] | None = None, **properties: Any
) -> None:
    with connect(address) as connection:
        kombu.Producer(connection).publish(
            body, exchange="jobs", routing_key="default", headers=headers, **properties
        )


def test_jobs_run_with_their_facts(
    topology: BrokerAddress, redis: PrivateRedis, env: dict[str, str]
) -> None:
    app = make_app(topology, redis.url)
    with WorkerProcess("low", env) as worker:
        result = app.send_task("plain.add", (2, 3), queue="low", priority=7)
        assert result.get(timeout=60) == 5
        [started] = worker.wait_for("started", task_id=result.id)
        [succeeded] = worker.wait_for("succeeded", task_id=result.id)
        assert worker.stop() == 0
    assert started.queue == "low"
    assert started.priority == 7
    assert started.attempt == 1
    assert started.wait is not None
    assert 0 <= started.wait < 10
    assert succeeded.runtime is not None
    assert [fact.kind for fact in worker.facts][-1] == "worker_stopped"


def test_wait_counts_from_the_end_of_a_delay(
    topology: BrokerAddress, redis: PrivateRedis, worker: WorkerProcess
) -> None:
    app = make_app(topology, redis.url)
    began = time.monotonic()
    result = app.send_task("plain.add", (1, 1), countdown=1.5)
    assert result.get(timeout=60) == 2
    assert time.monotonic() - began >= 1.5
    [started] = worker.wait_for("started", task_id=result.id)
    assert started.wait is not None
    assert started.wait < 1.5


def test_what_happened_is_counted(
    topology: BrokerAddress, redis: PrivateRedis, worker: WorkerProcess
) -> None:
    app = make_app(topology, redis.url)

    def counts() -> dict[str, int]:
        [answer] = app.control.inspect(timeout=5, limit=1).stats().values()
        assert answer["laneway"]["queue"] == worker.queue
        facts: dict[str, int] = answer["laneway"]["facts"]
        return facts

    before = counts()
    assert app.send_task("plain.add", (1, 1)).get(timeout=60) == 2
    put_raw(topology, b"[]", {"task": "plain.add", "id": "u2"})
    worker.wait_for("quarantined", task_id="u2")
    after = counts()
    assert after["received"] == before.get("received", 0) + 1
    assert after["quarantined"] == before.get("quarantined", 0) + 1


def test_a_delayed_job_waits_in_the_broker(topology: BrokerAddress) -> None:
    make_app(topology).send_task("plain.add", (1, 1), countdown=60)
    with connect(topology) as connection:
        held = {
            level: connection.default_channel.queue_declare(
                f"celery_delayed_{level}", passive=True
            ).message_count
            for level in range(7)
        }
    assert sum(held.values()) == 1


def test_a_retry_keeps_identity_queue_and_priority(
    topology: BrokerAddress, redis: PrivateRedis, env: dict[str, str]
) -> None:
    app = make_app(topology, redis.url)
    with WorkerProcess("low", env) as worker:
        result = app.send_task("plain.flaky", (2,), queue="low", priority=8)
        assert result.get(timeout=60) == {"attempt": 3, "priority": 8}
        retried = worker.of("retried", task_id=result.id)
    assert [fact.attempt for fact in retried] == [1, 2]
    assert {fact.error_type for fact in retried} == {"ConnectionError"}
    assert {fact.queue for fact in worker.of("started", task_id=result.id)} == {"low"}


def test_a_failed_job_becomes_a_dead_letter_with_its_bytes(
    topology: BrokerAddress, redis: PrivateRedis, worker: WorkerProcess
) -> None:
    app = make_app(topology, redis.url)
    result = app.send_task("plain.fail", ("no such order",), priority=6)
    [failed] = worker.wait_for("failed", task_id=result.id)
    [letter] = letters(topology, result.id)
    assert failed.error_type == "ValueError"
    assert failed.reason == "no such order"
    assert letter.priority == 6
    assert letter.original is not None
    assert json.loads(letter.original.body)[0] == ["no such order"]
    assert depth(topology, "dead.inbox") == 0


def test_a_hard_time_limit_is_one_failure_and_one_dead_letter(
    topology: BrokerAddress, redis: PrivateRedis, worker: WorkerProcess
) -> None:
    app = make_app(topology, redis.url)
    result = app.send_task("plain.hang")
    [failed] = worker.wait_for("failed", task_id=result.id)
    [letter] = letters(topology, result.id)
    time.sleep(1)
    assert len(worker.of("failed", task_id=result.id)) == 1
    assert failed.error_type == "TimeLimitExceeded"
    assert letter.id == f"{result.id}.0"
    assert letter.outcome == "time-limit"
    # The direct pool leaves the message to the broker; its letter has the same id.
    assert depth(topology, "dead.inbox") == (letter.original is None)


def test_a_job_that_kills_its_process_ends_as_a_dead_letter(
    broker: TestBroker, topology: BrokerAddress, redis: PrivateRedis, worker: WorkerProcess
) -> None:
    app = make_app(topology, redis.url)
    result = app.send_task("plain.vanish")
    good = [app.send_task("plain.add", (i, i)) for i in range(10)]
    assert [one.get(timeout=60) for one in good] == [2 * i for i in range(10)]
    if broker.profile.delivery_limit:
        [given_up] = dead_letters(topology, 1)
        assert given_up.headers["id"] == result.id
    else:
        # This broker does not count: the worker gives the job up itself when it killed twice.
        [letter] = letters(topology, result.id)
        assert letter.outcome == "lost"
    assert worker.process.poll() is None


@pytest.mark.parametrize(
    ("body", "headers", "properties"),
    [
        (b"\xff\xfe not json", {}, {"content_type": "application/json"}),
        (b"{}", None, {"content_type": "application/json"}),
        (b"[[], {}, {}]", {"task": 7, "id": ["x"]}, {}),
        (b"cos\nsystem\n(S'true'\ntR.", {"task": "plain.add", "id": "p"}, {"pickle": True}),
        (b"[[1, 2], {}, {}]", {"task": "plain.add"}, {}),
        (b"[[1, 2], {}, {}]", {"task": "plain.add", "id": "e", "eta": 77}, {}),
        (b'{"task": "plain.add"}', {}, {}),
    ],
)
def test_what_is_no_job_is_put_aside_and_the_worker_lives(
    topology: BrokerAddress,
    redis: PrivateRedis,
    worker: WorkerProcess,
    body: bytes,
    headers: dict[str, Any] | None,
    properties: dict[str, Any],
) -> None:
    kinds = {"content_type": "application/json", "content_encoding": "utf-8"}
    if properties.pop("pickle", False):
        kinds = {"content_type": "application/x-python-serialize", "content_encoding": "binary"}
    app = make_app(topology, redis.url)
    put_raw(topology, body, headers, **{**kinds, **properties})
    [told] = worker.wait_for("dead_lettered", outcome="quarantined")
    assert app.send_task("plain.add", (1, 1)).get(timeout=60) == 2
    [letter] = [one for one in letters(topology, lambda _: True) if one.id == told.letter][-1:]
    assert letter.original is not None
    assert letter.original.body == body


@pytest.mark.parametrize("missing", ["default", "dead.inbox"])
def test_a_missing_queue_refuses_the_worker(
    address: BrokerAddress, redis: PrivateRedis, missing: str
) -> None:
    from support.topology import apply_policy

    apply_policy(address)
    with connect(address) as connection:
        connection.default_channel.queue_delete(missing)
    worker = WorkerProcess("default", environment(address, redis.url))
    try:
        assert worker.process.wait(60) == 78
    finally:
        worker.stop()
    assert missing in worker.tail()
    assert "laneway topology plan" in worker.tail()


@pytest.mark.parametrize(("source", "key"), [("jobs", "default"), ("dead", "")])
def test_a_missing_binding_refuses_the_worker(
    address: BrokerAddress, redis: PrivateRedis, source: str, key: str
) -> None:
    from support.topology import apply_policy

    apply_policy(address)
    queue = "default" if source == "jobs" else "dead.inbox"
    with connect(address) as connection:
        connection.default_channel.queue_unbind(queue, source, key)
    worker = WorkerProcess("default", environment(address, redis.url))
    try:
        assert worker.process.wait(60) == 78
    finally:
        worker.stop()
    assert f"binding {source} -> {queue}" in worker.tail()


def test_drift_warns_and_the_worker_works(address: BrokerAddress, redis: PrivateRedis) -> None:
    from support.topology import apply_policy

    apply_policy(address)
    with Management(address) as management:
        for exchange in management.exchanges(address.vhost("jobs")):
            if exchange.name.startswith("laneway.topology."):
                management.delete_exchange(address.vhost("jobs"), exchange.name)
    with WorkerProcess("default", environment(address, redis.url)) as worker:
        worker.wait_for("topology_drift")
        assert make_app(address, redis.url).send_task("plain.add", (1, 1)).get(timeout=60) == 2


#: A worker's rights in its virtual host, but for those by which it sees `dead` and `dead.inbox`.
_PIDBOX = r"celeryev|(reply\.)?celery\.pidbox|.*\.celery\.pidbox"
NEARLY_ENOUGH = {
    "configure": f"^({_PIDBOX})$",
    "write": rf"^(amq\.default|jobs|celery_delayed_27|worker\.reports|{_PIDBOX})$",
    "read": rf"^(default|laneway\.(paused|topology)\..*|{_PIDBOX})$",
}


@pytest.mark.broker43
def test_what_a_worker_may_not_see_is_a_warning_with_the_right_and_it_works(
    topology: BrokerAddress, redis: PrivateRedis
) -> None:
    from integration.test_topology import another_user

    with another_user(topology, tags="", **NEARLY_ENOUGH) as login:
        env = environment(topology.as_user(*login), redis.url)
        with WorkerProcess("default", env) as worker:
            worker.wait_for("topology_drift", 2)
            job = make_app(topology, redis.url).send_task("plain.add", (1, 2), queue="default")
            assert job.get(timeout=60) == 3
            assert worker.stop() == 0
        for right in ("write ^dead$", r"write ^dead\.inbox$"):
            # (The log is JSON.)
            assert f"Let the user {right} there" in worker.tail().replace("\\\\", "\\")


def test_a_paused_queue_keeps_its_jobs_until_resumed(
    topology: BrokerAddress, redis: PrivateRedis, worker: WorkerProcess
) -> None:
    app = make_app(topology, redis.url)
    with connect(topology) as connection:
        pause.pause(connection, "default")
    worker.wait_for("paused")
    time.sleep(0.5)
    held = app.send_task("plain.add", (1, 1))
    time.sleep(2)
    assert not worker.of("started", task_id=held.id)
    with connect(topology) as connection:
        pause.resume(connection, "default")
    assert held.get(timeout=60) == 2


def test_a_worker_that_starts_while_paused_waits(
    topology: BrokerAddress, redis: PrivateRedis, env: dict[str, str]
) -> None:
    app = make_app(topology, redis.url)
    with connect(topology) as connection:
        pause.pause(connection, "low")
    held = app.send_task("plain.add", (1, 1), queue="low")
    try:
        with WorkerProcess("low", env) as worker:
            time.sleep(2)
            assert not worker.of("started", task_id=held.id)
            with connect(topology) as connection:
                pause.resume(connection, "low")
            assert held.get(timeout=60) == 2
    finally:
        with connect(topology) as connection:
            pause.resume(connection, "low")


def test_secure_jobs_leave_no_words_of_theirs_in_the_facts(
    topology: BrokerAddress, redis: PrivateRedis, env: dict[str, str]
) -> None:
    app = make_app(topology, redis.url)
    with WorkerProcess("secure", env) as worker:
        result = app.send_task("vault.reveal", ("canary-5150",))
        worker.wait_for("failed", task_id=result.id)
        worker.stop()
    assert not [line for line in worker.lines if "canary-5150" in line]


def test_what_outlasts_the_grace_period_is_given_back(
    topology: BrokerAddress, redis: PrivateRedis, env: dict[str, str], tmp_path: Path
) -> None:
    app = make_app(topology, redis.url)
    go_on = tmp_path / "go-on"
    with WorkerProcess("high", env) as worker:
        long = app.send_task("plain.hold", (str(go_on),), queue="high")
        worker.wait_for("started", task_id=long.id)
        began = time.monotonic()
        # The tests' queue "high" has a grace period of one second.
        assert worker.stop() >= 0, "it ended by itself"
        assert time.monotonic() - began >= 1
    assert not worker.of("succeeded", task_id=long.id)
    with WorkerProcess("high", env) as worker:
        [again] = worker.wait_for("started", task_id=long.id)
        assert again.redelivered
        go_on.touch()
        assert long.get(timeout=60) == str(go_on)


@pytest.mark.parametrize("pool", ["prefork", "direct", "threads", "gevent", "eventlet", "solo"])
def test_every_pool_runs_jobs(
    topology: BrokerAddress, redis: PrivateRedis, env: dict[str, str], pool: str
) -> None:
    app = make_app(topology, redis.url)
    size = "1" if pool == "solo" else "2"
    with WorkerProcess("low", env, "--pool", pool, "--concurrency", size) as worker:
        results = [app.send_task("plain.add", (i, i), queue="low") for i in range(6)]
        assert [one.get(timeout=60) for one in results] == [2 * i for i in range(6)]
        failed = app.send_task("plain.fail", queue="low")
        worker.wait_for("failed", task_id=failed.id)
        letters(topology, failed.id)
        assert worker.stop() == 0


@pytest.mark.parametrize("pool", ["threads", "gevent", "eventlet", "solo"])
def test_a_pool_that_cannot_keep_the_time_limit_is_refused(env: dict[str, str], pool: str) -> None:
    worker = WorkerProcess("default", env, "--pool", pool)
    try:
        assert worker.process.wait(60) != 0
    finally:
        worker.stop()
    # eventlet prints a traceback of its own while it patches; the last word is ours.
    assert "time_limit" in worker.lines[-1]


def test_sigterm_finishes_what_runs(
    topology: BrokerAddress, redis: PrivateRedis, env: dict[str, str]
) -> None:
    app = make_app(topology, redis.url)
    with WorkerProcess("low", env) as worker:
        running = app.send_task("plain.sleep", (2,), queue="low")
        worker.wait_for("started", task_id=running.id)
        waiting = [app.send_task("plain.sleep", (1,), queue="low") for _ in range(6)]
        assert worker.stop() == 0
    assert worker.of("succeeded", task_id=running.id)
    ended = {fact.task_id for fact in worker.of("succeeded")}
    with WorkerProcess("low", env) as worker:
        left = [one for one in waiting if one.id not in ended]
        assert left
        assert [one.get(timeout=60) for one in left] == [1] * len(left)


@pytest.mark.parametrize("pool", ["prefork", "direct"])
def test_an_idle_worker_writes_nothing_into_the_brokers_log(
    broker: Any, env: dict[str, str], pool: str
) -> None:
    """Once a second it looks whether its queue is paused."""
    if broker.private is None:
        pytest.skip("the log of a given broker is not ours to read")
    logs = broker.private.log
    with WorkerProcess("low", env, "--pool", pool):
        time.sleep(1)
        before = logs.stat().st_size
        time.sleep(5)
        with logs.open("rb") as file:
            file.seek(before)
            said = file.read().decode(errors="replace")
    assert [line for line in said.splitlines() if "[error]" in line or "[warning]" in line] == []
