"""Dramatiq with confirmed publishing and otherwise its defaults, on quorum queues.

A job that fails for good is kept in its queue of dead letters (``default.XQ``) for a week.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.middleware import CurrentMessage

from chaos.apps import NotPublished
from chaos.jobs import run
from chaos.ledger import QUEUES
from chaos.workload import Kind

if TYPE_CHECKING:
    from chaos.workload import Call, Job

broker = RabbitmqBroker(url=os.environ["CHAOS_BROKER_URL"], confirm_delivery=True)
broker.add_middleware(CurrentMessage())
dramatiq.set_broker(broker)


def job(*arguments: int) -> None:
    """The actor."""
    message = CurrentMessage.get_current_message()
    attempt = message.options.get("retries", 0) if message is not None else 0
    run(arguments, attempt)


# A queue is an actor's own here.
actors = [
    dramatiq.actor(
        job, actor_name=f"job.{queue}", queue_name=queue, min_backoff=1000, max_backoff=1000,
        max_retries=5,
    )
    for queue in QUEUES
]  # fmt: skip


def publish(call: Call) -> None:
    """Publish; an error of dramatiq's does not say whether the job was accepted."""
    done: list[int] = []
    try:
        if call.kind is Kind.CHAIN:
            dramatiq.pipeline(map(_message, call.jobs)).run()
            return
        for each in call.jobs:
            delay = int(call.delay * 1000) if call.kind is Kind.DELAY else None
            broker.enqueue(_message(each), delay=delay)
            done.append(each.number)
    except Exception as error:
        raise NotPublished(f"{type(error).__name__}: {error}", accepted=done) from error


def _message(each: Job) -> dramatiq.Message[None]:
    options = {"broker_priority": each.priority, "pipe_ignore": True}
    return actors[each.queue].message_with_options(args=each.arguments, **options)
