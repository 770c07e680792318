"""The streams of dead letters, as a test reads them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import kombu

from laneway.deadletter import audit, envelope
from laneway.topology import AUDIT_STREAM, LETTER_STREAM

if TYPE_CHECKING:
    from collections.abc import Callable

    from laneway.broker import BrokerAddress
    from laneway.broker.address import VhostKind
    from laneway.deadletter.audit import Entry
    from laneway.deadletter.letter import Letter


def letters(
    address: BrokerAddress,
    ids: Callable[[str], bool] | str,
    count: int = 1,
    *,
    kind: VhostKind = "jobs",
) -> list[Letter]:
    """Wait for ``count`` letters whose task ids are wanted; all of them, if there are more.

    Args:
        address: the broker.
        ids: a task id, or whether one is wanted.
        count: how many are to come at least.
        kind: the virtual host.
    """
    wanted = (lambda task_id: task_id == ids) if isinstance(ids, str) else ids
    return [
        letter
        for letter in map(envelope.decode, _read(address, LETTER_STREAM, kind, count, wanted))
        if wanted(letter.task_id or "")
    ]


def posted_now(address: BrokerAddress, task_id: str, *, kind: VhostKind = "jobs") -> list[Letter]:
    """The letters of a job that are there; none is an answer too."""
    found = map(envelope.decode, _read(address, LETTER_STREAM, kind, 0, None))
    return [letter for letter in found if letter.task_id == task_id]


def read_letters(
    address: BrokerAddress, count: int, kind: VhostKind = "jobs", *, patience: float = 30
) -> list[Letter]:
    """Wait for ``count`` letters of anybody; all there are."""
    found = _read(address, LETTER_STREAM, kind, count, None, patience)
    return [envelope.decode(data) for data in found]


def forget_letters(address: BrokerAddress, kind: VhostKind = "jobs") -> None:
    """Begin the stream anew: another test's letters are gone."""
    with kombu.Connection(address.kombu_urls(kind), connect_timeout=3) as connection:
        connection.ensure_connection(max_retries=5, interval_start=0)
        channel: Any = connection.default_channel
        channel.queue_delete(LETTER_STREAM)
        channel.queue_declare(
            LETTER_STREAM, durable=True, auto_delete=False, arguments={"x-queue-type": "stream"}
        )


def entries(address: BrokerAddress, count: int = 1, *, kind: VhostKind = "jobs") -> list[Entry]:
    """Wait for ``count`` entries of the audit stream; all there are."""
    return [audit.decode(data) for data in _read(address, AUDIT_STREAM, kind, count, None)]


def _read(
    address: BrokerAddress,
    stream: str,
    kind: VhostKind,
    count: int,
    wanted: Callable[[str], bool] | None,
    patience: float = 60.0,
) -> list[bytes]:
    """Read a stream from its beginning until so many wanted are found, and nothing more comes."""
    found: list[bytes] = []
    hits = 0
    until = time.monotonic() + patience
    with kombu.Connection(address.kombu_urls(kind), connect_timeout=3) as connection:
        connection.ensure_connection(max_retries=5, interval_start=0)
        channel = connection.default_channel

        def take(message: kombu.Message) -> None:
            nonlocal hits
            body = message.body if isinstance(message.body, bytes) else message.body.encode()
            found.append(body)
            hits += wanted is None or wanted(envelope.decode(body).task_id or "")
            channel.basic_ack(message.delivery_tag)

        channel.basic_qos(0, 200, False)
        channel.basic_consume(stream, callback=take, arguments={"x-stream-offset": "first"})
        while time.monotonic() < until:
            try:
                connection.drain_events(timeout=0.5)
            except TimeoutError:
                if hits >= count:
                    break
    assert hits >= count, f"{hits} of {count} in {stream} after {patience} s"
    return found
