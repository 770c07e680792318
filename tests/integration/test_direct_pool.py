"""The direct pool: what a process holds, what becomes of it when it goes, and its limits."""

from __future__ import annotations

import os
import signal
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import kombu
import pytest

from laneway.broker.management import Management
from support.direct_worker import DirectWorker
from support.proxy import Proxy
from support.workers import WorkerProcess, environment, make_app

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from laneway import Laneway
    from laneway.broker import BrokerAddress
    from laneway.local import PrivateRedis

pytestmark = pytest.mark.integration

#: Seconds; generous, because the tests share the machine.
PATIENCE = 60


@pytest.fixture
def env(topology: BrokerAddress, redis: PrivateRedis) -> dict[str, str]:
    return environment(topology, redis.url)


@pytest.fixture
def app(topology: BrokerAddress, redis: PrivateRedis) -> Laneway:
    return make_app(topology, redis.url)


@pytest.fixture
def worker(env: dict[str, str]) -> Iterator[DirectWorker]:
    """A group of one process."""
    with DirectWorker(env) as worker:
        yield worker


def send(app: Laneway, name: str, *args: Any, **options: Any) -> Any:
    return app.send_task(name, args, queue="low", **options)


def until(true: Callable[[], Any], what: str) -> Any:
    """Wait until ``true`` says something true; what it said."""
    end = time.monotonic() + PATIENCE
    while not (said := true()):
        assert time.monotonic() < end, f"not within {PATIENCE} s: {what}"
        time.sleep(0.05)
    return said


def unacknowledged(address: BrokerAddress) -> int:
    with Management(address) as management:
        for queue in management.queues(address.vhost("jobs")):
            if queue.name == "low":
                return queue.unacked or 0
    raise AssertionError("no queue 'low'")


def ready(address: BrokerAddress, queue: str = "low") -> int:
    with kombu.Connection(address.kombu_urls("jobs")) as connection:
        declared = connection.default_channel.queue_declare(queue, passive=True)
        return int(declared.message_count)


def active(app: Laneway) -> list[dict[str, Any]]:
    found = app.control.inspect(timeout=2).active() or {}
    return [job for jobs in found.values() for job in jobs]


# -- limits --------------------------------------------------------------------------------------


def test_a_soft_limit_lets_the_job_clean_up(app: Laneway, worker: DirectWorker) -> None:
    assert send(app, "rough.soft").get(timeout=PATIENCE) == "cleaned up"
    assert worker.of("failed") == []


def test_a_hard_limit_ends_even_a_job_that_holds_the_interpreters_lock(
    app: Laneway, env: dict[str, str], topology: BrokerAddress
) -> None:
    with DirectWorker(env) as first, DirectWorker(env) as second:
        stubborn = send(app, "rough.stubborn", 40, time_limit=1)
        with pytest.raises(Exception, match="TimeLimitExceeded"):
            stubborn.get(timeout=PATIENCE)
        # Its process is replaced, and no group ever runs it again: it is a dead letter.
        until(lambda: ready(topology, "dead.inbox") == 1, "one dead letter")
        results = [send(app, "rough.pid", 0.2) for _ in range(8)]
        assert all(one.get(timeout=PATIENCE)["counted"] == 0 for one in results)
        started = [*first.of("started"), *second.of("started")]
        failed = [*first.of("failed"), *second.of("failed")]
    assert [fact.task_id for fact in started].count(stubborn.id) == 1
    assert [fact.task_id for fact in failed] == [stubborn.id]
    until(lambda: unacknowledged(topology) == 0, "nothing is held any more")


def test_neighbours_of_a_killed_job_run_once_and_are_not_charged(
    app: Laneway, worker: DirectWorker, topology: BrokerAddress
) -> None:
    warm_up(app, worker)
    hung = send(app, "rough.pid", 40, time_limit=1, priority=9)
    neighbours = [send(app, "rough.pid") for _ in range(15)]
    answers = [one.get(timeout=PATIENCE) for one in neighbours]
    assert {answer["counted"] for answer in answers} == {0}
    started = [fact.task_id for fact in worker.of("started")]
    assert all(started.count(one.id) == 1 for one in (*neighbours, hung))
    until(lambda: ready(topology, "dead.inbox") == 1, "one dead letter")


def warm_up(app: Laneway, *workers: WorkerProcess) -> None:
    """Let the groups learn that their jobs are short, so that their processes hold some ahead."""
    for _ in range(60):
        send(app, "plain.add", 1, 1, ignore_result=True)
    until(lambda: sum(len(one.of("succeeded")) for one in workers) == 60, "the groups are warm")


# -- processes that die --------------------------------------------------------------------------


@pytest.mark.broker43
@pytest.mark.parametrize("name", ["rough.exit", "rough.segfault", "rough.system_exit"])
def test_only_the_poison_dies(
    app: Laneway, env: dict[str, str], topology: BrokerAddress, name: str
) -> None:
    """One job that always kills its process among fifteen good ones; the queue's limit is 5."""
    with DirectWorker(env) as worker:
        warm_up(app, worker)
        poison = send(app, name, priority=9)
        good = [send(app, "rough.pid") for _ in range(15)]
        answers = [one.get(timeout=PATIENCE) for one in good]
        until(lambda: ready(topology, "dead.inbox") == 1, "the poison is a dead letter")
        lost = worker.wait_for("retried", 6, task_id=poison.id, timeout=PATIENCE)
        started = [fact.task_id for fact in worker.of("started")]
    assert {answer["counted"] for answer in answers} == {0}
    assert all(started.count(one.id) == 1 for one in good)
    # The first run and five redeliveries.
    assert started.count(poison.id) == 6
    assert {fact.error_type for fact in lost} == {"WorkerLostError"}


def test_a_process_killed_from_outside_loses_and_doubles_nothing(
    app: Laneway, env: dict[str, str], topology: BrokerAddress
) -> None:
    with DirectWorker(env, processes=2) as worker:
        warm_up(app, worker)
        jobs = [send(app, "rough.pid", 0.01, ignore_result=True) for _ in range(300)]
        victims = worker.processes
        assert len(victims) == 2
        worker.wait_for("succeeded", 100, timeout=PATIENCE)
        os.kill(victims[0], signal.SIGKILL)
        ids = {one.id for one in jobs}
        until(
            lambda: ids <= {fact.task_id for fact in worker.of("succeeded")}, "all jobs have ended"
        )
        ended = [f.task_id for f in worker.of("succeeded") if f.task_id in ids]
        # Only a job that ran at that moment may run again; what had ended does not.
        assert len(ended) <= len(ids) + 1
        until(lambda: len(worker.processes) == 2, "the process is replaced")
        assert worker.stop() == 0
    assert ready(topology) == 0


def test_when_the_parent_is_killed_nothing_stays(
    app: Laneway, env: dict[str, str], topology: BrokerAddress
) -> None:
    with DirectWorker(env, processes=2) as worker:
        job = send(app, "rough.pid", 5)
        worker.wait_for("started", task_id=job.id)
        pids = [worker.nursery, *worker.processes]
        worker.process.kill()
        until(lambda: not any(_alive(pid) for pid in pids), "all processes are gone")
    with DirectWorker(env) as worker:
        [again] = worker.wait_for("started", task_id=job.id, timeout=PATIENCE)
    assert again.redelivered


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_job_that_allocates_without_end_fails_alone(
    app: Laneway, worker: DirectWorker, topology: BrokerAddress
) -> None:
    hungry = send(app, "rough.eat")
    [failed] = worker.wait_for("failed", task_id=hungry.id, timeout=PATIENCE)
    assert failed.error_type == "MemoryError"
    assert send(app, "plain.add", 1, 1).get(timeout=PATIENCE) == 2
    worker.wait_for("dead_lettered", task_id=hungry.id, outcome="failed")
    assert ready(topology, "dead.inbox") == 0


def test_a_job_may_fork(app: Laneway, worker: DirectWorker) -> None:
    first = send(app, "rough.fork").get(timeout=PATIENCE)
    assert send(app, "rough.fork").get(timeout=PATIENCE) == first


def test_a_process_that_a_job_forked_does_not_go_on_as_a_worker(
    app: Laneway, worker: DirectWorker, topology: BrokerAddress
) -> None:
    stray = send(app, "rough.stray")
    worker.wait_for("succeeded", task_id=stray.id, timeout=PATIENCE)
    answers = [send(app, "rough.pid").get(timeout=PATIENCE) for _ in range(10)]
    assert len({answer["pid"] for answer in answers}) == 1
    assert {answer["counted"] for answer in answers} == {0}
    assert worker.processes == [answers[0]["pid"]]
    assert ready(topology, "dead.inbox") == 0


def test_when_the_nursery_is_killed_the_worker_ends(app: Laneway, worker: DirectWorker) -> None:
    assert send(app, "plain.add", 1, 1).get(timeout=PATIENCE) == 2
    os.kill(worker.nursery, signal.SIGKILL)
    worker.process.wait(PATIENCE)
    assert "the nursery of the processes is gone" in "".join(worker.lines)


def test_a_process_is_replaced_after_its_number_of_jobs(
    app: Laneway, env: dict[str, str], tmp_path: Path
) -> None:
    policy = Path(env["LANEWAY_POLICY"])
    for file in policy.rglob("*.*"):
        if "__pycache__" not in file.parts:
            target = tmp_path / file.relative_to(policy)
            target.parent.mkdir(exist_ok=True)
            target.write_text(file.read_text())
    with (tmp_path / "queues" / "low.toml").open("a") as low:
        low.write("max_tasks_per_child = 2\n")
    with DirectWorker({**env, "LANEWAY_POLICY": str(tmp_path)}):
        pids = [send(app, "rough.pid").get(timeout=PATIENCE)["pid"] for _ in range(6)]
    assert len(set(pids)) == 3


def test_a_task_knows_of_its_request_what_it_knows_in_prefork(
    app: Laneway, env: dict[str, str]
) -> None:
    link = app.signature("plain.add", (1, 1), immutable=True)
    options = {
        "queue": "low",
        "priority": 7,
        "expires": 600,
        "time_limit": 50,
        "shadow": "another name",
        "headers": {"trace": "abc"},
        "link": link,
        "link_error": link,
        "task_id": "an-id-of-its-own",
        "reply_to": "somebody",
    }
    known = {}
    for pool in ("prefork", "direct"):
        with DirectWorker(env, "--pool", pool, "--hostname", "low@here"):
            result = app.send_task("rough.request", (1,), {"b": 2}, **options)
            known[pool] = result.get(timeout=PATIENCE)
            result.forget()
    for said in known.values():
        # When it was published, and what is different from one publish to the next.
        for key in ("laneway_ready_at", "properties", "expires", "headers"):
            said.pop(key, None)
    assert known["direct"] == known["prefork"]


# -- what is held --------------------------------------------------------------------------------


def test_what_is_held_behind_a_long_job_is_given_to_others(
    app: Laneway, env: dict[str, str], topology: BrokerAddress
) -> None:
    with DirectWorker(env) as first, DirectWorker(env) as second:
        warm_up(app, first, second)
        long = send(app, "rough.pid", PATIENCE, priority=9)
        short = [send(app, "rough.pid") for _ in range(40)]
        answers = [one.get(timeout=PATIENCE / 2) for one in short]
        assert {answer["counted"] for answer in answers} == {0}
        assert not [
            *first.of("succeeded", task_id=long.id),
            *second.of("succeeded", task_id=long.id),
        ]
        app.control.revoke(long.id, terminate=True, reply=True, timeout=5)


def test_long_jobs_are_not_held_ahead(
    app: Laneway, worker: DirectWorker, topology: BrokerAddress
) -> None:
    jobs = [send(app, "rough.pid", 0.3) for _ in range(12)]
    worker.wait_for("succeeded", 9, timeout=PATIENCE)
    urgent = send(app, "rough.pid", priority=9)
    worker.wait_for("succeeded", 13, timeout=PATIENCE)
    order = [fact.task_id for fact in worker.of("started")]
    # Ahead of it is what ran when it came, and maybe what began until it had arrived.
    assert order.index(urgent.id) <= 11
    assert order.index(urgent.id) < order.index(jobs[-1].id)


# -- orders --------------------------------------------------------------------------------------


def test_inspect_and_terminate(app: Laneway, worker: DirectWorker, topology: BrokerAddress) -> None:
    running = send(app, "rough.pid", 40)
    waiting = send(app, "rough.pid")
    worker.wait_for("started", task_id=running.id)
    job = until(lambda: active(app), "inspect active shows it")[0]
    assert job["id"] == running.id
    assert job["name"] == "rough.pid"
    app.control.revoke(waiting.id, reply=True, timeout=5)
    app.control.revoke(running.id, terminate=True, reply=True, timeout=5)
    with pytest.raises(Exception, match="terminated"):
        running.get(timeout=PATIENCE)
    with pytest.raises(Exception, match="revoked"):
        waiting.get(timeout=PATIENCE)
    assert send(app, "plain.add", 1, 2).get(timeout=PATIENCE) == 3
    assert ready(topology, "dead.inbox") == 0


def test_grow_and_shrink(app: Laneway, worker: DirectWorker) -> None:
    app.control.pool_grow(2)
    until(lambda: len(worker.processes) == 3, "three processes")
    app.control.pool_shrink(1)
    until(lambda: len(worker.processes) == 2, "two processes")


# -- the broker comes and goes -------------------------------------------------------------------


def test_jobs_go_on_after_the_connection_was_cut(
    app: Laneway, env: dict[str, str], topology: BrokerAddress
) -> None:
    url = topology.urls[0]
    with (
        Proxy.before(url) as proxy,
        DirectWorker({**env, "LANEWAY_BROKER_URL": proxy.through(url)}) as worker,
    ):
        # (A process that may hold some ahead gives them back while a long job runs.)
        warm_up(app, worker)
        proxy.cut()
        assert send(app, "plain.add", 1, 2).get(timeout=PATIENCE) == 3
        running = send(app, "rough.pid", 8)
        worker.wait_for("started", task_id=running.id)
        proxy.cut()
        # The broker gives it to somebody else, so it must not go on here.
        first, again = worker.wait_for("started", 2, task_id=running.id, timeout=PATIENCE)
        assert again.at - first.at < 8
        assert running.get(timeout=PATIENCE)
        worker.wait_for("succeeded", task_id=running.id, timeout=PATIENCE)
        assert len(worker.of("started", task_id=running.id)) == 2


def test_a_message_that_comes_too_early_waits_in_the_broker(
    app: Laneway, worker: DirectWorker, topology: BrokerAddress
) -> None:
    due = datetime.now(UTC) + timedelta(seconds=4)
    with kombu.Connection(topology.kombu_urls("jobs")) as connection:
        kombu.Producer(connection).publish(
            b"[[1, 2], {}, {}]",
            exchange="jobs",
            routing_key="low",
            content_type="application/json",
            content_encoding="utf-8",
            headers={"task": "plain.add", "id": "early", "eta": due.isoformat()},
        )
    assert send(app, "plain.add", 1, 1).get(timeout=PATIENCE) == 2
    assert not worker.of("started", task_id="early")
    [started] = worker.wait_for("started", task_id="early", timeout=PATIENCE)
    assert started.at >= due.timestamp() - 1.1
