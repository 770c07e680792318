"""The dead letters of a virtual host, read from their stream."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import kombu

from laneway.deadletter import envelope
from laneway.topology import LETTER_STREAM

if TYPE_CHECKING:
    from laneway.broker import BrokerAddress
    from laneway.broker.address import VhostKind
    from laneway.deadletter.letter import Letter


def read_letters(
    address: BrokerAddress, count: int, kind: VhostKind = "jobs", *, patience: float = 30
) -> list[Letter]:
    """The letters of the stream from its beginning: at least ``count``, and all that are there."""
    found: list[Letter] = []

    def note(message: Any) -> None:
        body = message.body
        found.append(envelope.decode(body.encode() if isinstance(body, str) else body))
        message.channel.basic_ack(message.delivery_tag)

    with kombu.Connection(address.kombu_urls(kind), connect_timeout=3) as connection:
        connection.ensure_connection(max_retries=5, interval_start=0)
        channel: Any = connection.default_channel
        channel.basic_qos(0, 500, False)
        channel.basic_consume(LETTER_STREAM, callback=note, arguments={"x-stream-offset": "first"})
        until = time.monotonic() + patience
        while time.monotonic() < until:
            try:
                connection.drain_events(timeout=0.5)
            except TimeoutError:
                if len(found) >= count:
                    return found
    raise AssertionError(f"{len(found)} of {count} letters in {patience} s")


def forget_letters(address: BrokerAddress, kind: VhostKind = "jobs") -> None:
    """Begin the stream anew: another test's letters are gone."""
    with kombu.Connection(address.kombu_urls(kind), connect_timeout=3) as connection:
        connection.ensure_connection(max_retries=5, interval_start=0)
        channel: Any = connection.default_channel
        channel.queue_delete(LETTER_STREAM)
        channel.queue_declare(
            LETTER_STREAM, durable=True, auto_delete=False, arguments={"x-queue-type": "stream"}
        )
