"""Celery, tuned to the same guarantees or with its defaults (``BENCH_CELERY``).

Its queues are quorum queues either way.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from celery import Celery
from kombu import Exchange, Queue

from bench.apps import QUEUES, in_threads
from bench.jobs import JOBS

if TYPE_CHECKING:
    from collections.abc import Iterable

#: ``defaults``, or the jobs that each process holds with late acknowledgement.
TUNING = os.environ.get("BENCH_CELERY", "1")
_EXCHANGE = Exchange("bench", type="topic")

app = Celery("bench", broker=os.environ["BENCH_BROKER_URL"])
app.conf.update(
    task_ignore_result=True,
    task_queues=[
        Queue(name, _EXCHANGE, routing_key=name, queue_arguments={"x-queue-type": "quorum"})
        for name in QUEUES
    ],
    task_default_queue="default",
)
if TUNING != "defaults":
    app.conf.update(
        broker_transport_options={"confirm_publish": True},
        broker_pool_limit=10,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=int(TUNING),
    )
tasks = {name: app.task(name=f"bench.{name}")(job) for name, job in JOBS.items()}


def publish_marked(kind: str, queue: str, priority: int | None, job: int) -> str:
    """Publish one job; return the id in its message."""
    return str(tasks[kind].apply_async((job,), **_options(queue, priority)).id)


def publish(kind: str, queue: str, priority: int | None, jobs: Iterable[int]) -> None:
    """Publish one job after the other, each confirmed before the next (if confirmed at all)."""
    task, options = tasks[kind], _options(queue, priority)
    for job in jobs:
        task.apply_async((job,), **options)


def publish_many(kind: str, queue: str, jobs: Iterable[int]) -> str:
    """Publish many jobs as this system does it best; return how."""
    if TUNING == "defaults":
        publish(kind, queue, None, jobs)
        return "apply_async in a loop, no confirms"
    in_threads(8, lambda shared: publish(kind, queue, None, shared), iter(jobs))
    return "apply_async in 8 threads"


def _options(queue: str, priority: int | None) -> dict[str, Any]:
    return {"queue": queue} if priority is None else {"queue": queue, "priority": priority}
