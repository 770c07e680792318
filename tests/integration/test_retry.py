"""Retries on a real broker: when they come, and what a broken dependency may cost."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from support.workers import WorkerProcess, environment, make_app

if TYPE_CHECKING:
    from collections.abc import Iterator

    from laneway.broker import BrokerAddress
    from laneway.local import PrivateRedis

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def worker(module_topology: BrokerAddress, redis: PrivateRedis) -> Iterator[WorkerProcess]:
    with WorkerProcess("default", environment(module_topology, redis.url)) as worker:
        yield worker


def starts(worker: WorkerProcess, task_id: str) -> list[float]:
    return [fact.at for fact in worker.of("started", task_id=task_id)]


def test_a_retry_waits_as_its_backoff_says(
    topology: BrokerAddress, redis: PrivateRedis, worker: WorkerProcess
) -> None:
    result = make_app(topology, redis.url).send_task("plain.backing_off", (3,))
    assert result.get(timeout=60) == 3
    times = starts(worker, result.id)
    waits = [after - before for before, after in itertools.pairwise(times)]
    # Bounds of 1, 2 and 2 seconds, in whole seconds of at least one.
    assert len(waits) == 3
    assert all(0.8 <= wait < 4 for wait in waits), waits


def test_a_retry_waits_as_long_as_the_other_side_asks(
    topology: BrokerAddress, redis: PrivateRedis, worker: WorkerProcess
) -> None:
    result = make_app(topology, redis.url).send_task("plain.backing_off", (1, 5))
    assert result.get(timeout=60) == 1
    first, second = starts(worker, result.id)
    assert 4.8 <= second - first < 8


def test_a_broken_dependency_does_not_multiply_the_load(
    topology: BrokerAddress, redis: PrivateRedis, worker: WorkerProcess
) -> None:
    """200 jobs that may be tried 51 times each: the budget ends them long before."""
    app = make_app(topology, redis.url)
    with app.batch():
        ids = [app.send_task("plain.unlucky", ignore_result=False).id for _ in range(200)]
    failed = [fact for task_id in ids for fact in worker.wait_for("failed", task_id=task_id)]
    retried = [fact for task_id in ids for fact in worker.of("retried", task_id=task_id)]
    assert {fact.error_type for fact in failed} == {"ConnectionError"}
    assert len(failed) == 200
    # 20 saved up and one a second in each of two processes, and a fifth of the 200.
    assert 20 <= len(retried) <= 200, len(retried)
