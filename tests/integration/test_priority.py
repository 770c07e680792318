"""Inside a queue the more urgent job starts first, and among equals the older one."""

from __future__ import annotations

import random
from collections import defaultdict
from typing import TYPE_CHECKING

import kombu
import pytest

from laneway import pause
from support.workers import WorkerProcess, environment, make_app

if TYPE_CHECKING:
    from laneway.broker import BrokerAddress
    from laneway.local import PrivateRedis

pytestmark = pytest.mark.integration

JOBS = 1000


def inversions(order: list[int]) -> int:
    """How many starts happened while a more urgent job, already published, still waited."""
    most_urgent_left = [max(order[i:]) for i in range(len(order))]
    return sum(started < best for started, best in zip(order, most_urgent_left, strict=True))


def test_inversions_counts() -> None:
    assert inversions([9, 9, 5, 0]) == 0
    assert inversions([5, 9, 0]) == 1


def test_a_thousand_shuffled_jobs_start_in_strict_order(
    topology: BrokerAddress, redis: PrivateRedis
) -> None:
    app = make_app(topology)
    env = environment(topology, redis.url)
    priorities = [number % 10 for number in range(JOBS)]
    random.Random(20).shuffle(priorities)
    with WorkerProcess("low", env, "--concurrency", "1") as worker:
        with kombu.Connection(topology.kombu_urls("jobs")) as connection:
            pause.pause(connection, "low")
        worker.wait_for("paused")
        published: dict[str, tuple[int, int]] = {}
        for number, priority in enumerate(priorities):
            result = app.send_task(
                "plain.add", (1, 1), queue="low", priority=priority, ignore_result=True
            )
            published[result.id] = (priority, number)
        with kombu.Connection(topology.kombu_urls("jobs")) as connection:
            pause.resume(connection, "low")
        worker.wait_for("succeeded", JOBS, timeout=90)
        starts = sorted(worker.of("started"), key=lambda fact: fact.at)
    order = [published[fact.task_id or ""] for fact in starts]
    assert len(order) == JOBS
    assert inversions([priority for priority, _ in order]) == 0
    inside = defaultdict(list)
    for priority, number in order:
        inside[priority].append(number)
    assert all(numbers == sorted(numbers) for numbers in inside.values())
    assert all(len(numbers) == JOBS // 10 for numbers in inside.values())
