"""Reading a stream from any offset to its end, over AMQP 0-9-1. Nothing is consumed by it.

A stream does not say where it ends: a subscriber at the end waits for what is to come. But the
broker hands over everything that it has before it answers the channel's next question, so a
question is the mark: what came before its answer was there, what did not come was not. Where the
end is, is asked once, at the last chunk; then entries are read up to there, so that a reader comes
to an end however fast others write.

Entries come by the million, so their frames are read by :mod:`laneway.broker.deliveries`; py-amqp
connects and opens the channel.
"""

from __future__ import annotations

import struct
import time
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Self

import amqp.exceptions

from laneway.broker.deliveries import METHOD, Reader
from laneway.errors import BrokerError, TopologyMissing

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Iterator

    from kombu.connection import Connection

    from laneway.broker.deliveries import Delivery

#: Entries that may be on their way to a reader.
PREFETCH: Final = 10_000
#: Seconds without a sign of the broker, after which it is believed gone.
PATIENCE: Final = 20.0
#: Seconds in which a chunk that is being written becomes readable: of a stream that has entries,
#: and of one that seems to have none.
_SETTLING_SECONDS: Final = (3.0, 0.15)
#: Seconds between two questions meanwhile: the first, and the longest.
_PAUSE_SECONDS: Final = (0.002, 0.02)
_RECV_BYTES: Final = 512 * 1024

_QOS_OK: Final = b"\x00\x3c\x00\x0b"
_CANCEL: Final = b"\x00\x3c\x00\x1e"
_CLOSE: Final = (b"\x00\x14\x00\x28", b"\x00\x0a\x00\x32")
_TAG: Final = "laneway.dead"
_OFFSET: Final = b"\x0fx-stream-offsetl"

_long_long = struct.Struct(">Q").unpack_from
_pack_head = struct.Struct(">BHI").pack

#: Where to begin: an offset, or the first or last chunk that the stream has.
Start = int | Literal["first", "last"]


class Stored(NamedTuple):
    """One entry of a stream."""

    offset: int
    body: bytes


class StreamReader:
    """Reads the streams of one virtual host, one after the other.

    Args:
        connection: open, and nobody else's while the reader is used.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def first_offset(self, stream: str) -> int | None:
        """The oldest entry that the stream still has; None if it has none.

        Raises:
            TopologyMissing: there is no such stream.
            BrokerError: the broker broke off.
        """
        with Subscription(self._connection, stream, "first", prefetch=1) as subscription:
            entries = subscription.until_settled(has_some=False)
            return min((entry.offset for entry in entries), default=None)

    def last(self, stream: str, *, has_some: bool = False) -> Stored | None:
        """The newest entry of the stream; None if it has none. Raises as :meth:`first_offset`.

        Args:
            stream: its name.
            has_some: it had entries before, so that none would be a surprise.
        """
        with Subscription(self._connection, stream, "last", prefetch=PREFETCH) as subscription:
            entries = subscription.until_settled(has_some=has_some)
            return entries[-1] if entries else None

    def entries(
        self, stream: str, start: Start, last: int, *, prefetch: int = PREFETCH
    ) -> Iterator[list[Stored]]:
        """The entries from ``start`` to the offset ``last``, both included, some at a time.

        Entries that retention has removed are left out.

        Args:
            stream: its name.
            start: where to begin.
            last: at most that of :meth:`last`.
            prefetch: entries that may be on their way.

        Raises:
            TopologyMissing: there is no such stream.
            BrokerError: the broker broke off, or nothing comes any more.
        """
        with Subscription(self._connection, stream, start, prefetch=prefetch) as subscription:
            while True:
                entries = subscription.read(last)
                if entries and entries[-1].offset >= last:
                    yield [entry for entry in entries if entry.offset <= last]
                    return
                if entries:
                    yield entries


class Subscription:
    """One consumer on a channel of its own; ends with the block.

    What comes on the connection meanwhile is its own: nobody else may use that.

    Args:
        connection: open.
        stream: its name.
        start: where to begin.
        prefetch: entries that the broker may send ahead of :meth:`read`.

    Raises:
        TopologyMissing: there is no such stream.
    """

    def __init__(self, connection: Connection, stream: str, start: Start, *, prefetch: int) -> None:
        self._connection = connection
        self._stream = stream
        self._start = start
        self._prefetch = prefetch
        self._channel: Any = None
        self._transport: Any = None
        self._reader: Reader
        self._tag = self._acked = 0
        # What the broker answered, by class and method.
        self._answers: set[bytes] = set()
        self._entries: list[Stored] = []

    def __enter__(self) -> Self:
        self._channel = channel = self._connection.channel()
        self._transport = channel.connection.transport
        self._reader = Reader(channel.channel_id, self._other, channel.connection.frame_max)
        try:
            count = channel.queue_declare(self._stream, passive=True).message_count
        except amqp.exceptions.NotFound as error:
            raise TopologyMissing(
                f"expected the stream {self._stream!r}, got: no such queue. "
                "Run 'laneway topology apply'."
            ) from error
        # As old as the broker's statistics: good for a hint, no more.
        self._has_some = count > 0
        channel.basic_qos(0, self._prefetch, False)
        # Without waiting for its answer: from here on the frames are ours.
        channel.basic_consume(
            self._stream,
            consumer_tag=_TAG,
            nowait=True,
            arguments={"x-stream-offset": self._start},
        )
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and issubclass(kind, BrokerError | OSError):
            return  # there is nothing to take leave of
        payload = _CANCEL + bytes((len(_TAG),)) + _TAG.encode() + b"\x00"
        self._write(payload)
        while not self._reader.cancelled:
            self._receive(PATIENCE)
        self._channel.close()

    def until_settled(self, *, has_some: bool) -> list[Stored]:
        """Everything that the broker has for this consumer now."""
        found: list[Stored] = []
        until = time.monotonic() + _SETTLING_SECONDS[0 if has_some or self._has_some else 1]
        pause = _PAUSE_SECONDS[0]
        while True:
            new = self._before_the_mark()
            found += new
            if (found and (not new or self._prefetch == 1)) or time.monotonic() > until:
                return found
            if not new:
                # The last chunk may be on its way to the disks: until then nobody can read it.
                time.sleep(pause)
                pause = min(pause * 2, _PAUSE_SECONDS[1])

    def read(self, last: int) -> list[Stored]:
        """The next entries, at least one.

        Args:
            last: no more are wanted than up to here.

        Raises:
            BrokerError: nothing comes any more.
        """
        until = time.monotonic() + PATIENCE
        while not self._entries:
            if time.monotonic() > until:
                raise BrokerError(
                    f"expected more entries of the stream {self._stream!r}, got nothing in "
                    f"{PATIENCE:g} s. Try again."
                )
            self._receive(PATIENCE)
            # What comes without an ack may be all that is wanted.
            coming = self._prefetch - (self._tag - self._acked)
            if self._entries and self._entries[-1].offset + coming < last:
                self._ack(least=max(1, self._prefetch // 4))
        return self._taken()

    def _before_the_mark(self) -> list[Stored]:
        self._answers.discard(_QOS_OK)
        # basic.qos with the value that it has: a question that changes nothing.
        self._write(struct.pack(">HHIHB", 60, 10, 0, self._prefetch, 0))
        while _QOS_OK not in self._answers:
            self._receive(PATIENCE)
        self._ack(least=1)
        return self._taken()

    def _taken(self) -> list[Stored]:
        entries, self._entries = self._entries, []
        return entries

    def _ack(self, *, least: int) -> None:
        """Let more come, once so many have come: each ack makes the broker look for entries."""
        if self._tag - self._acked >= least:
            self._write(struct.pack(">HHQB", 60, 80, self._tag, 1))
            self._acked = self._tag

    def _write(self, payload: bytes) -> None:
        head = _pack_head(METHOD, self._channel.channel_id, len(payload))
        with self._transport.having_timeout(PATIENCE):
            self._transport.write(head + payload + b"\xce")

    def _receive(self, seconds: float) -> None:
        try:
            with self._transport.having_timeout(seconds):
                data = self._transport.sock.recv(_RECV_BYTES)
        except TimeoutError as error:
            raise BrokerError(
                f"expected entries of the stream {self._stream!r}, got no sign of the broker in "
                f"{seconds:g} s. Try again."
            ) from error
        if not data:
            raise BrokerError(f"the broker closed the connection while {self._stream!r} was read")
        try:
            self._reader.feed(data)
        except ConnectionError as error:
            raise BrokerError(str(error)) from error
        self._take(self._reader.deliveries)

    def _take(self, deliveries: deque[Delivery]) -> None:
        for one in deliveries:
            found = one.raw_properties.find(_OFFSET)
            if found < 0:
                raise BrokerError(
                    f"expected a stream, got another kind of queue: {self._stream!r}. "
                    "Run 'laneway topology plan'."
                )
            (offset,) = _long_long(one.raw_properties, found + len(_OFFSET))
            self._entries.append(Stored(offset, one.body))
        if deliveries:
            self._tag = deliveries[-1].tag
            deliveries.clear()

    def _other(self, kind: int, _channel: int, payload: bytes) -> None:
        """What is no entry: answers, bad news, heartbeats."""
        if kind != METHOD:
            return
        what = payload[:4]
        if what in _CLOSE:
            code, length = struct.unpack_from(">HB", payload, 4)
            text = payload[7 : 7 + length].decode("utf-8", "replace")
            raise BrokerError(f"the broker refuses to let {self._stream!r} be read: {code} {text}")
        if what == _CANCEL:
            raise BrokerError(f"the stream {self._stream!r} was deleted or moved while it was read")
        self._answers.add(what)
