"""Letters out of their stream, while something else is done with those before them.

The broker sends ahead: while the caller works on some letters, the next ones arrive. So they come
over a connection of their own.
"""

from __future__ import annotations

import json
import time
from bisect import bisect_right
from typing import TYPE_CHECKING, Final

import amqp.exceptions

from laneway.broker.connect import connection_to
from laneway.deadletter import envelope
from laneway.deadletter.stream import Subscription
from laneway.errors import BrokerError
from laneway.topology import LETTER_STREAM

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from kombu.connection import Connection

    from laneway.broker.address import BrokerAddress, VhostKind
    from laneway.deadletter.letter import Letter
    from laneway.deadletter.stream import Stored

#: Seconds for which an idle connection is trusted: the broker closes it without heartbeats.
FRESH_SECONDS: Final = 15.0
#: Entries that the broker may send ahead.
_AHEAD: Final = 1_000
#: Entries that are rather skipped than looked up anew.
_NEAR: Final = 200


def fetch(
    address: BrokerAddress, vhost: VhostKind, offsets: Sequence[int]
) -> Iterator[list[Stored]]:
    """The entries of the letter stream at these offsets, some at a time.

    Args:
        address: where the broker is.
        vhost: which of the two virtual hosts.
        offsets: in ascending order; what retention has removed is left out.

    Raises:
        BrokerUnreachable: no connection.
        TopologyMissing: the stream does not exist.
        BrokerError: the broker broke off.
    """
    at = 0
    while at < len(offsets):
        with connection_to(address, vhost) as connection:
            at = yield from _over(connection, offsets, at)


def letter_of(entry: Stored) -> Letter:
    """The letter of an entry that is indexed; without its message if that cannot be read."""
    try:
        return envelope.decode(entry.body)
    except envelope.EnvelopeUnreadable:
        document = envelope.document_of(entry.body)
        del document["original"]
        return envelope.decode(json.dumps(document).encode())


def _over(
    connection: Connection, offsets: Sequence[int], at: int
) -> Generator[list[Stored], None, int]:
    """Fetch over one connection as long as it can be trusted; how many offsets are done then."""
    idle = 0.0
    while at < len(offsets) and idle < FRESH_SECONDS:
        end = _stretch_end(offsets, at)
        first, last, wanted = offsets[at], offsets[end - 1], frozenset(offsets[at:end])
        ahead = min(_AHEAD, last - first + 1)
        try:
            with Subscription(connection, LETTER_STREAM, first, prefetch=ahead) as subscription:
                while at < end and idle < FRESH_SECONDS:
                    entries = subscription.read(last)
                    at = bisect_right(offsets, entries[-1].offset, at, end)
                    if found := [entry for entry in entries if entry.offset in wanted]:
                        since = time.monotonic()
                        yield found
                        idle = time.monotonic() - since
        except (BrokerError, OSError, amqp.exceptions.AMQPError):
            if idle < FRESH_SECONDS:
                raise
            # Nobody served it meanwhile, so the broker may have closed it.
            connection.collect()
    return at


def _stretch_end(offsets: Sequence[int], start: int) -> int:
    """Where the offsets end that are read in one go with the one at ``start``."""
    for at in range(start + 1, len(offsets)):
        if offsets[at] - offsets[at - 1] > _NEAR:
            return at
    return len(offsets)
