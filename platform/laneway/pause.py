"""A paused queue: its jobs wait, its workers hold still, publishing goes on.

The mark is an exchange named after the queue, in the queue's virtual host: durable, visible in the
management interface, and readable by workers without any privilege. Workers look once a second.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import amqp.exceptions
from kombu import Exchange

if TYPE_CHECKING:
    import kombu


def mark_of(queue: str) -> str:
    """The name of the exchange whose presence means that ``queue`` is paused."""
    return f"laneway.paused.{queue}"


def is_paused(connection: kombu.Connection, queue: str) -> bool:
    """Whether the queue is paused; uses a channel of its own, since the answer "no" closes it."""
    channel = connection.channel()
    try:
        Exchange(mark_of(queue), type="fanout", channel=channel).declare(passive=True)
    except amqp.exceptions.NotFound:
        return False
    channel.close()
    return True


def pause(connection: kombu.Connection, queue: str) -> None:
    """Mark the queue as paused; its workers stop taking jobs within a second or two."""
    with connection.channel() as channel:
        Exchange(mark_of(queue), type="fanout", durable=True, channel=channel).declare()


def resume(connection: kombu.Connection, queue: str) -> None:
    """Take the mark away; resuming a queue that is not paused changes nothing."""
    with connection.channel() as channel:
        Exchange(mark_of(queue), type="fanout", channel=channel).delete()
