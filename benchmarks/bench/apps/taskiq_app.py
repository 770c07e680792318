"""Taskiq on aio-pika with its defaults: confirmed publishing, quorum queues, ack after the job."""

from __future__ import annotations

import asyncio
import itertools
import os
from typing import TYPE_CHECKING, Any

from taskiq_aio_pika import AioPikaBroker
from taskiq_aio_pika.queue import Queue

from bench.apps import QUEUES
from bench.jobs import JOBS

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable

# A worker consumes every queue of its broker; BENCH_QUEUE names the one that it is to serve.
_NAMES = [os.environ["BENCH_QUEUE"]] if "BENCH_QUEUE" in os.environ else QUEUES
broker = AioPikaBroker(
    os.environ["BENCH_BROKER_URL"], task_queues=[Queue(name=name) for name in _NAMES]
)
tasks: dict[str, Any] = {
    name: broker.task(task_name=f"bench.{name}")(job) for name, job in JOBS.items()
}
_MANY_AT_ONCE = 200
_loop: list[asyncio.AbstractEventLoop] = []


def publish_marked(kind: str, queue: str, priority: int | None, job: int) -> str:
    """Publish one job; return the id in its message."""

    async def send() -> str:
        return str((await _kicker(kind, queue, priority).kiq(job)).task_id)

    return str(_run(send()))


def publish(kind: str, queue: str, priority: int | None, jobs: Iterable[int]) -> None:
    """Publish one job after the other, each confirmed before the next."""
    kicker = _kicker(kind, queue, priority)

    async def send() -> None:
        for job in jobs:
            await kicker.kiq(job)

    _run(send())


def publish_many(kind: str, queue: str, jobs: Iterable[int]) -> str:
    """Publish many jobs as this system does it best; return how."""
    kicker = _kicker(kind, queue, None)

    async def send() -> None:
        waiting = iter(jobs)
        while some := list(itertools.islice(waiting, _MANY_AT_ONCE)):
            await asyncio.gather(*(kicker.kiq(job) for job in some))

    _run(send())
    return f"asyncio.gather over {_MANY_AT_ONCE} at a time"


def _kicker(kind: str, queue: str, priority: int | None) -> Any:
    labels: dict[str, Any] = {"queue_name": queue}
    if priority is not None:
        labels["priority"] = priority
    return tasks[kind].kicker().with_labels(**labels)


def _run(work: Coroutine[Any, Any, Any]) -> Any:
    if not _loop:
        _loop.append(asyncio.new_event_loop())
        _loop[0].run_until_complete(broker.startup())
    return _loop[0].run_until_complete(work)
