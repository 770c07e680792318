"""The direct pool: what was revoked does not begin, whatever its process was doing meanwhile."""

from __future__ import annotations

import os
import signal
import time
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from celery.exceptions import TaskRevokedError

from support.brokers import depth
from support.direct_worker import DirectWorker
from support.workers import environment, make_app

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from laneway import Laneway
    from laneway.broker import BrokerAddress
    from laneway.local import PrivateRedis

pytestmark = pytest.mark.integration

#: Seconds; generous, because the tests share the machine.
PATIENCE = 60


@pytest.fixture
def app(topology: BrokerAddress, redis: PrivateRedis) -> Laneway:
    return make_app(topology, redis.url)


@pytest.fixture
def worker(topology: BrokerAddress, redis: PrivateRedis) -> Iterator[DirectWorker]:
    with DirectWorker(environment(topology, redis.url)) as worker:
        yield worker


@pytest.fixture
def unwanted() -> str:
    """The id of a job."""
    return str(uuid.uuid4())


def until(true: Callable[[], Any], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, f"not within {PATIENCE} s: {what}"
        time.sleep(0.05)


def revoke(app: Laneway, *task_ids: str) -> None:
    """Tell the worker, and hear that it has taken note."""
    [answer] = app.control.revoke(task_ids, reply=True, timeout=PATIENCE, limit=1)
    [said] = answer.values()
    assert "flagged" in said["ok"]


def does_not_run(app: Laneway, worker: DirectWorker, task_id: str) -> None:
    """What becomes of a job that is published after it was revoked; the next one runs."""
    unwanted = app.AsyncResult(task_id)
    with pytest.raises(TaskRevokedError):
        unwanted.get(timeout=PATIENCE)
    assert app.send_task("plain.add", (1, 2), queue="low").get(timeout=PATIENCE) == 3
    assert worker.of("started", task_id=task_id) == []


def test_a_process_that_stood_still_meanwhile(
    app: Laneway, worker: DirectWorker, topology: BrokerAddress, unwanted: str
) -> None:
    """It finds the job, and that it was revoked, in the same moment."""
    [process] = worker.processes
    os.kill(process, signal.SIGSTOP)
    revoke(app, unwanted)
    app.send_task("plain.add", (1, 1), queue="low", task_id=unwanted)
    until(lambda: depth(topology, "low") == 0, "the job is on its way to the process")
    time.sleep(0.5)
    os.kill(process, signal.SIGCONT)
    does_not_run(app, worker, unwanted)


def test_a_process_that_ran_a_long_job_meanwhile(
    app: Laneway, worker: DirectWorker, unwanted: str
) -> None:
    """It can look at none of a thousand revokes before its job ends."""
    long = app.send_task("rough.pid", (10,), queue="low")
    worker.wait_for("started", task_id=long.id)
    for _ in range(1_000):
        app.control.revoke(str(uuid.uuid4()))
    revoke(app, unwanted)
    assert worker.of("succeeded", task_id=long.id) == [], "the job was not long enough"
    app.send_task("plain.add", (1, 1), queue="low", task_id=unwanted)
    does_not_run(app, worker, unwanted)


@pytest.mark.parametrize("others", [0, 2_000, 10_000])
def test_a_process_that_takes_the_place_of_another(
    app: Laneway, worker: DirectWorker, unwanted: str, others: int
) -> None:
    [first] = worker.processes
    revoke(app, *(str(uuid.uuid4()) for _ in range(others)), unwanted)
    os.kill(first, signal.SIGKILL)
    app.send_task("plain.add", (1, 1), queue="low", task_id=unwanted)
    does_not_run(app, worker, unwanted)
    assert first not in worker.processes
