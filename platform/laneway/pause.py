"""A paused queue: its jobs wait, its workers hold still, publishing goes on.

The mark is a message in a queue of its own, in the virtual host of the paused queue: durable,
replicated, visible in the management interface. Workers look once a second, without any privilege,
how many messages are there; the topology declares the queue, so that no look is an error that the
broker would log.
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any

import amqp.exceptions

from laneway.errors import TopologyMissing
from laneway.topology import pause_mark

if TYPE_CHECKING:
    import kombu

log = logging.getLogger(__name__)


class PauseLook:
    """Looks whether one queue is paused, again and again over the same channel.

    Args:
        connection: to the queue's virtual host.
        queue: the queue.
    """

    def __init__(self, connection: kombu.Connection, queue: str) -> None:
        self._connection = connection
        self._queue = queue
        self._mark = pause_mark(queue)
        self._channel: Any = connection.channel()

    def __call__(self) -> bool | None:
        """Whether the queue is paused; None if nothing is there for the mark, or it is not told.

        Then nothing is asked any more over this connection: each such question would be a line in
        the broker's log.
        """
        if self._channel is None:
            return None
        try:
            return bool(self._channel.queue_declare(self._mark, passive=True).message_count)
        except amqp.exceptions.NotFound:
            self._channel = None  # the answer has closed it
            return None
        except amqp.exceptions.AccessRefused:
            self._channel = None
            log.warning(
                "whether %s is paused is not seen, so a pause is not obeyed: the broker refuses to "
                "say it to the user %r. Let the user read ^%s$ there, besides what it may "
                "(rabbitmqctl set_permissions; since RabbitMQ 4.3 who has no right on a queue is "
                "not told of it).",
                self._queue,
                self._connection.userid,
                re.escape(self._mark),
            )
            return None

    def close(self) -> None:
        """Close the channel."""
        if self._channel is not None:
            self._channel.close()


def is_paused(connection: kombu.Connection, queue: str) -> bool:
    """Whether the queue is paused."""
    look = PauseLook(connection, queue)
    paused = look()
    look.close()
    return bool(paused)


def pause(connection: kombu.Connection, queue: str) -> None:
    """Mark the queue as paused; its workers stop taking jobs within a second or two.

    Raises:
        TopologyMissing: there is no place for the mark.
    """
    with connection.channel() as channel:
        _require(channel, queue)
        said = f"{queue} is paused; 'laneway queues resume {queue}' ends it"
        # (2 is persistent: the pause outlives the broker's restart.)
        message = channel.prepare_message(
            said,
            content_type="text/plain",
            content_encoding="utf-8",
            properties={"delivery_mode": 2},
        )
        channel.basic_publish_confirm(message, exchange="", routing_key=pause_mark(queue))


def resume(connection: kombu.Connection, queue: str) -> None:
    """Take the mark away; resuming a queue that is not paused changes nothing.

    Raises:
        TopologyMissing: there is no place for a mark.
    """
    with connection.channel() as channel:
        _require(channel, queue)
        channel.queue_purge(pause_mark(queue))


def _require(channel: Any, queue: str) -> None:
    try:
        channel.queue_declare(pause_mark(queue), passive=True)
    except amqp.exceptions.NotFound:
        raise TopologyMissing(
            f"expected a queue {pause_mark(queue)!r}, which holds the mark of a pause, got "
            "none. Run 'laneway topology apply'."
        ) from None
