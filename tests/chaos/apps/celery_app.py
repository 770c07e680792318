"""Celery with its defaults, or with the settings that are known as reliable (``CHAOS_CELERY``).

Its queues are quorum queues either way, and its delays wait in the broker, as Celery does it with
quorum queues.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from celery import Celery, chain
from kombu import Exchange, Queue

from chaos.apps import NotPublished
from chaos.jobs import GiveUp, TryAgain, run
from chaos.ledger import QUEUES
from chaos.workload import Kind

if TYPE_CHECKING:
    from chaos.workload import Call, Job

_EXCHANGE = Exchange("chaos", type="topic")

app = Celery("chaos", broker=os.environ["CHAOS_BROKER_URL"])
app.conf.update(
    task_ignore_result=True,
    task_queues=[
        Queue(name, _EXCHANGE, routing_key=name, queue_arguments={"x-queue-type": "quorum"})
        for name in QUEUES
    ],
    task_default_queue="default",
    broker_connection_retry_on_startup=True,
)
if os.environ["CHAOS_CELERY"] == "reliable":
    app.conf.update(
        broker_transport_options={"confirm_publish": True},
        task_acks_late=True,
        task_reject_on_worker_lost=True,
    )


@app.task(name="chaos.job", bind=True, max_retries=5)
def task(self: Any, *arguments: int) -> None:
    """The task."""
    try:
        run(arguments, self.request.retries)
    except TryAgain as error:
        raise self.retry(countdown=1, exc=error) from None
    except GiveUp as error:
        raise ValueError(str(error)) from None


def publish(call: Call) -> None:
    """Publish; an error of Celery's does not say whether the job was accepted."""
    done: list[int] = []
    try:
        if call.kind is Kind.CHAIN:
            chain(*(task.si(*job.arguments).set(**_where(job)) for job in call.jobs)).apply_async()
            return
        delay = {"countdown": call.delay} if call.kind is Kind.DELAY else {}
        for job in call.jobs:
            task.apply_async(job.arguments, **_where(job), **delay)
            done.append(job.number)
    except Exception as error:
        raise NotPublished(f"{type(error).__name__}: {error}", accepted=done) from error


def _where(job: Job) -> dict[str, Any]:
    return {"queue": job.queue_name, "priority": job.priority}
