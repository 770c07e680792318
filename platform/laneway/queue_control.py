"""Pausing, resuming and purging queues. A purge makes dead letters: nothing is ever dropped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from kombu.entity import Queue
from kombu.messaging import Consumer

from laneway import pause as marks
from laneway.broker.connect import connection_to
from laneway.broker.management import Management
from laneway.errors import TopologyMissing
from laneway.queue_state import declared_counts
from laneway.topology import DEAD_EXCHANGE, DEAD_INBOX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kombu.connection import Connection
    from kombu.message import Message

    from laneway.broker import BrokerAddress, VhostKind
    from laneway.policy import Policy

#: Messages that a purge holds at a time.
PURGE_BATCH: Final = 200
#: Seconds without a message after which a purge believes that the queue is empty.
PURGE_PATIENCE: Final = 2.0


def pause_queue(address: BrokerAddress, policy: Policy, name: str) -> bool:
    """Let the queue's jobs wait; what runs, ends. Returns False if it was paused already.

    Raises:
        UnknownQueue: the policy has no such queue.
        BrokerUnreachable: no connection.
    """
    with connection_to(address, policy.queue(name).vhost) as connection:
        if marks.is_paused(connection, name):
            return False
        marks.pause(connection, name)
        return True


def resume_queue(address: BrokerAddress, policy: Policy, name: str) -> bool:
    """End a pause. Returns False if the queue was not paused. Raises as :func:`pause_queue`."""
    with connection_to(address, policy.queue(name).vhost) as connection:
        if not marks.is_paused(connection, name):
            return False
        marks.resume(connection, name)
        return True


def purge_queue(
    address: BrokerAddress,
    policy: Policy,
    name: str,
    *,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> int:
    """Make dead letters of the messages that wait now; returns how many.

    Messages that workers hold are left alone, and so are those that come later (with priorities, a
    later and more urgent one may be taken instead of an earlier one: the number is kept).

    Args:
        address: where the broker is.
        policy: the policy.
        name: a queue of the policy.
        progress: called with how many are done, and how many there were.

    Raises:
        UnknownQueue: the policy has no such queue.
        TopologyMissing: a rejected message would be lost, because there is no dead inbox or the
            broker would not send it there.
        BrokerUnreachable, BrokerError: the broker cannot be reached or read.
    """
    kind = policy.queue(name).vhost
    _require_dead_letters(address, kind, name)
    with connection_to(address, kind) as connection:
        counts = declared_counts(connection, name)
        if counts is None:
            raise TopologyMissing(
                f"the queue {name!r} does not exist. Run 'laneway topology apply'."
            )
        waiting, done = counts[0], 0
        with connection.channel() as channel:
            for message in _taken(connection, channel, name, waiting):
                message.reject(requeue=False)
                done += 1
                progress(done, waiting)
            # The answer comes after the rejects: the broker has seen them all.
            channel.queue_declare(name, passive=True)
    return done


def _taken(connection: Connection, channel: Any, name: str, count: int) -> Iterator[Message]:
    """At most ``count`` messages from the head of a queue, each to be settled by the caller."""
    if count == 0:
        return
    arrived: list[Message] = []
    channel.basic_qos(0, min(PURGE_BATCH, count), False)
    consumer = Consumer(
        channel, [Queue(name, no_declare=True)], on_message=arrived.append, auto_declare=False
    )
    given = 0
    with consumer:
        while given < count:
            try:
                connection.drain_events(timeout=PURGE_PATIENCE)
            except TimeoutError:
                return  # workers took the rest
            for message in arrived[: count - given]:
                given += 1
                yield message
            del arrived[:]
    # What was held beyond the count goes back with the channel.


def _require_dead_letters(address: BrokerAddress, kind: VhostKind, name: str) -> None:
    """A reject is a loss unless the broker sends what is rejected to the dead inbox."""
    vhost = address.vhost(kind)
    with Management(address) as management:
        definition = management.queue_entry(vhost, name).get("effective_policy_definition") or {}
        inbox = management.queue(vhost, DEAD_INBOX)
        bound = any(
            binding.source == DEAD_EXCHANGE and binding.destination == DEAD_INBOX
            for binding in management.bindings(vhost)
        )
    if definition.get("dead-letter-exchange") != DEAD_EXCHANGE or inbox is None or not bound:
        raise TopologyMissing(
            f"purging {name!r} would lose its messages: what is rejected there does not arrive in "
            f"{DEAD_INBOX!r}. Nothing was purged. Run 'laneway topology apply'."
        )
