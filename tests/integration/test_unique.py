"""Unique jobs: of equal calls one is published, and the others get its id."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from redis import Redis

from laneway.errors import ClaimsUnreachable, OptionRefused, QueueFull
from support.brokers import depth, room_for
from support.once_tasks import noted, with_tasks
from support.workers import WorkerProcess, environment, make_app

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from laneway import Laneway
    from laneway.broker import BrokerAddress
    from laneway.local import PrivateRedis

pytestmark = pytest.mark.integration

PATIENCE = 60


@pytest.fixture
def app(topology: BrokerAddress, redis: PrivateRedis) -> Laneway:
    return with_tasks(make_app(topology, redis.url))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "noted"


@pytest.fixture(scope="module")
def worker(module_topology: BrokerAddress, redis: PrivateRedis) -> Iterator[WorkerProcess]:
    env = environment(module_topology, redis.url)
    with WorkerProcess("low", env, app="support.once_tasks:app") as worker:
        yield worker


def call(app: Laneway, name: str, *args: Any, queue: str = "low", **options: Any) -> Any:
    return app.tasks[name].apply_async(args, queue=queue, **options)


def until(true: Callable[[], Any], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, f"not within {PATIENCE} s: {what}"
        time.sleep(0.05)


@pytest.mark.parametrize("name", ["unique.start", "unique.done"])
def test_of_50_publishers_at_once_one_wins(
    app: Laneway, topology: BrokerAddress, file: Path, name: str
) -> None:
    with ThreadPoolExecutor(50) as threads:
        results = list(threads.map(lambda _: call(app, name, str(file), queue="high"), range(50)))
    assert len({one.id for one in results}) == 1
    assert [one.is_duplicate for one in results].count(False) == 1
    assert depth(topology, "high") == 1
    other = call(app, name, f"{file}.other", queue="high")
    assert not other.is_duplicate


def test_until_start_lets_the_next_in_when_it_starts(
    app: Laneway, worker: WorkerProcess, file: Path
) -> None:
    first = call(app, "unique.start", str(file), 3)
    worker.wait_for("started", task_id=first.id)
    until(lambda: noted(file, "start"), "it runs")
    second = call(app, "unique.start", str(file), 3)
    assert not second.is_duplicate
    assert second.id != first.id


def test_until_done_keeps_the_next_out_until_it_has_ended(
    app: Laneway, worker: WorkerProcess, file: Path
) -> None:
    first = call(app, "unique.done", str(file), 2)
    until(lambda: noted(file, "start"), "it runs")
    # The key is the file alone.
    second = call(app, "unique.done", str(file), 99)
    assert (second.id, second.is_duplicate) == (first.id, True)
    assert second.get(timeout=PATIENCE) == str(file)
    worker.wait_for("succeeded", task_id=first.id)
    until(lambda: not call(app, "unique.done", str(file)).is_duplicate, "the next is let in")


def test_a_retry_keeps_the_claim_and_the_last_failure_ends_it(
    app: Laneway, worker: WorkerProcess, file: Path
) -> None:
    first = call(app, "unique.retried", str(file))
    worker.wait_for("retried", task_id=first.id)
    assert call(app, "unique.retried", str(file)).id == first.id
    worker.wait_for("failed", task_id=first.id)
    assert len(noted(file, "start")) == 2
    until(lambda: not call(app, "unique.retried", str(file)).is_duplicate, "the next is let in")


def test_a_killed_process_keeps_the_claim_and_its_job_ends_it(
    app: Laneway, worker: WorkerProcess, file: Path
) -> None:
    first = call(app, "unique.done", str(file), 2)
    until(lambda: noted(file, "start"), "it runs")
    os.kill(noted(file, "start")[0], signal.SIGKILL)
    assert call(app, "unique.done", str(file)).id == first.id
    assert first.get(timeout=PATIENCE) == str(file)
    assert len(noted(file, "start")) == 2
    until(lambda: not call(app, "unique.done", str(file)).is_duplicate, "the next is let in")


def test_a_job_that_nobody_ends_keeps_others_out_for_a_time(
    app: Laneway, topology: BrokerAddress, redis: PrivateRedis, file: Path
) -> None:
    first = call(app, "unique.short", str(file), queue="high")
    assert call(app, "unique.short", str(file), queue="high").id == first.id
    until(
        lambda: not call(app, "unique.short", str(file), queue="high").is_duplicate,
        "its time is over",
    )
    # A delay of the call does not use it up.
    later = call(app, "unique.short", f"{file}.later", countdown=30, queue="high")
    time.sleep(2.5)
    assert call(app, "unique.short", f"{file}.later", queue="high").id == later.id
    client = Redis.from_url(redis.url)
    try:
        assert all(client.ttl(key) > 0 for key in client.scan_iter("*laneway:unique:*"))
    finally:
        client.close()


def test_a_refused_publish_leaves_no_claim(
    app: Laneway, topology: BrokerAddress, file: Path
) -> None:
    with room_for(topology, "high", 1):
        with pytest.raises(QueueFull):  # noqa: PT012
            while True:
                app.send_task("once.plain", (str(file),), queue="high")
        with pytest.raises(QueueFull):
            call(app, "unique.done", str(file), queue="high")
        with pytest.raises(QueueFull):
            call(app, "unique.done", str(file), queue="high")
    assert not call(app, "unique.done", str(file), queue="high").is_duplicate


def test_many_at_once_are_unique_too(app: Laneway, topology: BrokerAddress, file: Path) -> None:
    task = app.tasks["unique.done"]
    ids: dict[int, str] = {}
    account = app.publish_many(
        [task.s(str(file)).set(queue="high") for _ in range(10)], on_accepted=ids.__setitem__
    )
    assert (account.count, account.complete) == (10, True)
    with app.batch() as batch:
        results = [call(app, "unique.done", str(file), queue="high") for _ in range(10)]
        call(app, "unique.done", f"{file}.other", queue="high")
    assert batch.account.count == 11
    assert {*ids.values(), *(one.id for one in results)} == {ids[0]}
    assert depth(topology, "high") == 2


def test_a_step_that_others_wait_for_is_published_all_the_same(
    app: Laneway, worker: WorkerProcess, file: Path
) -> None:
    task = app.tasks["unique.done"]
    claimed = call(app, "unique.done", str(file), 2)
    steps = task.si(str(file)).set(queue="low") | task.si(str(file)).set(queue="low")
    assert steps.apply_async().get(timeout=PATIENCE) == str(file)
    assert claimed.get(timeout=PATIENCE) == str(file)
    assert len(noted(file, "start")) == 3


def test_without_redis_a_call_is_published_and_a_strict_one_refused(
    topology: BrokerAddress, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANEWAY_REDIS_URL", "redis://127.0.0.1:1/0")
    app = with_tasks(make_app(topology))
    told: list[Any] = []
    app.facts.listen(told.append)
    assert not call(app, "unique.done", str(file), queue="high").is_duplicate
    assert not call(app, "unique.done", str(file), queue="high").is_duplicate
    with pytest.raises(ClaimsUnreachable, match="expected Redis"):
        call(app, "unique.strict", str(file), queue="high")
    assert depth(topology, "high") == 2
    assert [fact.kind for fact in told] == [
        *("unguarded", "published") * 2,
        "refused",
    ]


def test_a_secure_job_needs_a_secret(
    app: Laneway, redis: PrivateRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = app.tasks["vault.unique"]
    with pytest.raises(OptionRefused, match="LANEWAY_KEY_SECRET"):
        task.delay(100)
    monkeypatch.setenv("LANEWAY_KEY_SECRET", "long and random")
    first = task.delay(100)
    assert task.delay(100).id == first.id
    assert not task.delay(200).is_duplicate
