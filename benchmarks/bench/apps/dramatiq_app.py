"""Dramatiq with confirmed publishing.

Its queues are quorum queues because that is the default of their virtual host: dramatiq itself has
no setting for it (Bogdanp/dramatiq#869).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker

from bench.apps import QUEUES, in_threads
from bench.jobs import JOBS

if TYPE_CHECKING:
    from collections.abc import Iterable

broker = RabbitmqBroker(url=os.environ["BENCH_BROKER_URL"], confirm_delivery=True)
dramatiq.set_broker(broker)
# A queue is an actor's own here, so each job has one actor a queue.
actors = {
    (name, queue): dramatiq.actor(job, actor_name=f"{name}.{queue}", queue_name=queue)
    for name, job in JOBS.items()
    for queue in QUEUES
}


def publish_marked(kind: str, queue: str, priority: int | None, job: int) -> str:
    """Publish one job; return the id in its message."""
    options = {} if priority is None else {"broker_priority": priority}
    message = actors[kind, queue].send_with_options(args=(job,), **options)
    return str(message.message_id)


def publish(kind: str, queue: str, priority: int | None, jobs: Iterable[int]) -> None:
    """Publish one job after the other, each confirmed before the next."""
    actor = actors[kind, queue]
    for job in jobs:
        if priority is None:
            actor.send(job)
        else:
            actor.send_with_options(args=(job,), broker_priority=priority)


def publish_many(kind: str, queue: str, jobs: Iterable[int]) -> str:
    """Publish many jobs as this system does it best; return how."""
    in_threads(8, lambda shared: publish(kind, queue, None, shared), iter(jobs))
    return "send in 8 threads"
