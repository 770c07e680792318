"""A queue that is full makes no failure of work that is done: its next step waits in the broker."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import kombu
import pytest
from celery import chain, chord

import laneway
from support.brokers import depth, room_for
from support.workers import WorkerProcess, environment, make_app

if TYPE_CHECKING:
    from collections.abc import Iterator

    from laneway import Laneway
    from laneway.broker import BrokerAddress
    from laneway.local import PrivateRedis

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def worker(module_topology: BrokerAddress, redis: PrivateRedis) -> Iterator[WorkerProcess]:
    with WorkerProcess("default", environment(module_topology, redis.url)) as worker:
        yield worker


def fill_low(app: Laneway) -> None:
    until = time.monotonic() + 60
    with pytest.raises(laneway.QueueFull):  # noqa: PT012
        while time.monotonic() < until:
            app.send_task("plain.add", (0, 0), queue="low")


def wait_for_depth(address: BrokerAddress, queue: str, jobs: int) -> None:
    until = time.monotonic() + 20
    while depth(address, queue) != jobs:
        assert time.monotonic() < until, f"{depth(address, queue)} of {jobs} in {queue}"
        time.sleep(0.1)


@pytest.mark.parametrize("kind", ["chain", "link", "chord"])
def test_the_step_comes_when_there_is_room(
    topology: BrokerAddress, redis: PrivateRedis, worker: WorkerProcess, kind: str
) -> None:
    app = make_app(topology, redis.url)
    first = app.signature("plain.add", (1, 2))
    step = app.signature("plain.total" if kind == "chord" else "plain.add", queue="low")
    with room_for(topology, "low", 2):
        fill_low(app)
        if kind == "chain":
            done = chain(first, step.clone(args=(10,)))().parent
        elif kind == "link":
            done = first.apply_async(link=step.clone(args=(10,)))
        else:
            done = chord([first], step)().parent[0]
        assert done.get(timeout=30) == 3
        assert worker.wait_for("succeeded", task_id=done.id)
        assert worker.of("failed", task_id=done.id) == []
        with kombu.Connection(topology.kombu_urls("jobs")) as connection:
            connection.default_channel.queue_purge("low")
        wait_for_depth(topology, "low", 1)


def test_what_the_task_s_own_code_publishes_is_refused_to_it(
    topology: BrokerAddress, redis: PrivateRedis, worker: WorkerProcess
) -> None:
    app = make_app(topology, redis.url)
    with room_for(topology, "low", 2):
        fill_low(app)
        call = ("plain.add", {"args": (1, 1), "queue": "low"})
        [failed] = worker.wait_for("failed", task_id=app.send_task("plain.publish", call).id)
    assert failed.error_type == "QueueFull"
