"""Reading a stream from any offset to its end, over AMQP 0-9-1. Nothing is consumed by it.

A stream does not say where it ends: a subscriber at the end waits for what is to come. But the
broker hands over everything that it has before it answers the channel's next question, so a
question is the mark: what came before its answer was there, what did not come was not. Where the
end is, is asked once, at the last chunk; then entries are read up to there, so that a reader comes
to an end however fast others write.

Entries come by the million, so their frames are read here; py-amqp does all that is rare.
"""

from __future__ import annotations

import struct
import time
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Self

import amqp.exceptions

from laneway.errors import BrokerError, TopologyMissing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kombu.connection import Connection

#: Entries that may be on their way to a reader.
PREFETCH: Final = 10_000
#: Seconds without a sign of the broker, after which it is believed gone.
PATIENCE: Final = 20.0
#: Seconds in which a chunk that is being written becomes readable: of a stream that has entries,
#: and of one that seems to have none.
_SETTLING_SECONDS: Final = (3.0, 0.15)
_RECV_BYTES: Final = 512 * 1024

_METHOD, _HEADER, _BODY = 1, 2, 3
_END: Final = 0xCE
_DELIVER: Final = b"\x00\x3c\x00\x3c"
_QOS_OK: Final = b"\x00\x3c\x00\x0b"
_CANCEL: Final = b"\x00\x3c\x00\x1e"
_CANCEL_OK: Final = b"\x00\x3c\x00\x1f"
_CLOSE: Final = (b"\x00\x14\x00\x28", b"\x00\x0a\x00\x32")
_TAG: Final = "laneway.dead"
_OFFSET: Final = b"\x0fx-stream-offsetl"

_frame_head = struct.Struct(">BHI").unpack_from
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
        with _Subscription(self._connection, stream, "first", prefetch=1) as subscription:
            entries = subscription.until_settled(has_some=False)
            return min((entry.offset for entry in entries), default=None)

    def last_offset(self, stream: str, *, has_some: bool = False) -> int | None:
        """The newest entry of the stream; None if it has none. Raises as :meth:`first_offset`.

        Args:
            stream: its name.
            has_some: it had entries before, so that none would be a surprise.
        """
        with _Subscription(self._connection, stream, "last", prefetch=PREFETCH) as subscription:
            entries = subscription.until_settled(has_some=has_some)
            return max((entry.offset for entry in entries), default=None)

    def entries(
        self, stream: str, start: Start, last: int, *, prefetch: int = PREFETCH
    ) -> Iterator[list[Stored]]:
        """The entries from ``start`` to the offset ``last``, both included, some at a time.

        Entries that retention has removed are left out.

        Args:
            stream: its name.
            start: where to begin.
            last: at most what :meth:`last_offset` said.
            prefetch: entries that may be on their way.

        Raises:
            TopologyMissing: there is no such stream.
            BrokerError: the broker broke off, or nothing comes any more.
        """
        with _Subscription(self._connection, stream, start, prefetch=prefetch) as subscription:
            while True:
                entries = subscription.read()
                if entries and entries[-1].offset >= last:
                    yield [entry for entry in entries if entry.offset <= last]
                    return
                if entries:
                    yield entries


class _Subscription:
    """One consumer on a channel of its own; ends with the block."""

    def __init__(self, connection: Connection, stream: str, start: Start, *, prefetch: int) -> None:
        self._connection = connection
        self._stream = stream
        self._start = start
        self._prefetch = prefetch
        self._channel: Any = None
        self._transport: Any = None
        self._rest = b""
        # Of the message whose frames are being read.
        self._offset: int | None = None
        self._missing = 0
        self._parts: list[bytes] = []
        self._tag = self._acked = 0
        # What the broker answered, by class and method.
        self._answers: set[bytes] = set()
        self._entries: list[Stored] = []

    def __enter__(self) -> Self:
        self._channel = channel = self._connection.channel()
        self._transport = channel.connection.transport
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
        self._write(_METHOD, payload)
        while _CANCEL_OK not in self._answers:
            self._receive(PATIENCE)
        self._channel.close()

    def until_settled(self, *, has_some: bool) -> list[Stored]:
        """Everything that the broker has for this consumer now."""
        found: list[Stored] = []
        until = time.monotonic() + _SETTLING_SECONDS[0 if has_some or self._has_some else 1]
        while True:
            new = self._before_the_mark()
            found += new
            if (found and (not new or self._prefetch == 1)) or time.monotonic() > until:
                return found
            if not new:
                # The last chunk may be on its way to the disks: until then nobody can read it.
                time.sleep(0.02)

    def read(self) -> list[Stored]:
        """The next entries, at least one.

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
            self._ack(least=max(1, self._prefetch // 4))
        return self._taken()

    def _before_the_mark(self) -> list[Stored]:
        self._answers.discard(_QOS_OK)
        # basic.qos with the value that it has: a question that changes nothing.
        self._write(_METHOD, struct.pack(">HHIHB", 60, 10, 0, self._prefetch, 0))
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
            self._write(_METHOD, struct.pack(">HHQB", 60, 80, self._tag, 1))
            self._acked = self._tag

    def _write(self, kind: int, payload: bytes) -> None:
        head = _pack_head(kind, self._channel.channel_id, len(payload))
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
        self._feed(data)

    def _feed(self, data: bytes) -> None:
        if self._rest:
            data = self._rest + data
        at, end = 0, len(data)
        while end - at >= 8:
            kind, _, size = _frame_head(data, at)
            after = at + 8 + size
            if after > end:
                break
            if data[after - 1] != _END:
                raise BrokerError("expected the end of an AMQP frame, got other bytes")
            start, at = at + 7, after
            if kind == _BODY:
                self._body(data[start : after - 1])
            elif kind == _HEADER:
                self._header(data, start, after - 1)
            elif kind == _METHOD:
                self._method(data, start)
        self._rest = data[at:]

    def _method(self, data: bytes, start: int) -> None:
        what = data[start : start + 4]
        if what == _DELIVER:
            # The delivery tag stands behind the consumer's.
            (self._tag,) = _long_long(data, start + 5 + data[start + 4])
        elif what in _CLOSE:
            code, length = struct.unpack_from(">HB", data, start + 4)
            text = data[start + 7 : start + 7 + length].decode("utf-8", "replace")
            raise BrokerError(f"the broker refuses to let {self._stream!r} be read: {code} {text}")
        elif what == _CANCEL:
            raise BrokerError(f"the stream {self._stream!r} was deleted or moved while it was read")
        else:
            self._answers.add(bytes(what))

    def _header(self, data: bytes, start: int, stop: int) -> None:
        (self._missing,) = _long_long(data, start + 4)
        found = data.find(_OFFSET, start, stop)
        if found < 0:
            raise BrokerError(
                f"expected a stream, got another kind of queue: {self._stream!r}. "
                "Run 'laneway topology plan'."
            )
        (self._offset,) = _long_long(data, found + len(_OFFSET))
        if not self._missing:
            self._complete(b"")

    def _body(self, piece: bytes) -> None:
        self._missing -= len(piece)
        if self._missing > 0:
            self._parts.append(piece)
            return
        if self._parts:
            piece = b"".join((*self._parts, piece))
            self._parts = []
        self._complete(piece)

    def _complete(self, body: bytes) -> None:
        assert self._offset is not None
        self._entries.append(Stored(self._offset, body))
