"""The frames of AMQP 0-9-1 that the data path reads and writes itself.

py-amqp connects, logs in, opens the channel and understands everything that is rare. What comes by
the thousand goes through here: deliveries in, settlements out. One ``recv`` holds many frames,
where py-amqp takes three reads for a frame and three frames for a message.

Source: the AMQP 0-9-1 specification, sections 2.3.5 and 4.2, and its XML for the numbers.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from struct import Struct
from typing import TYPE_CHECKING, Any, Final

from laneway.deadletter.letter import Original
from laneway.worker.direct import properties

if TYPE_CHECKING:
    from collections.abc import Callable

METHOD: Final = 1
HEADER: Final = 2
BODY: Final = 3
FRAME_END: Final = 0xCE
#: A whole heartbeat frame.
HEARTBEAT: Final = b"\x08\x00\x00\x00\x00\x00\x00\xce"

_DELIVER: Final = (60 << 16) | 60
_CANCEL_OK: Final = (60 << 16) | 31

_frame = Struct(">BHI").unpack_from
_frame_head = Struct(">BHI").pack
_method = Struct(">I").unpack_from
_tag = Struct(">Q").unpack_from
_body_size = Struct(">4xQ").unpack_from
_settlement = Struct(">BHIHHQBB").pack
_close = Struct(">BHIHHHBHHB").pack


def ack(channel: int, tag: int) -> bytes:
    """``basic.ack`` of everything up to ``tag``."""
    return _settlement(METHOD, channel, 13, 60, 80, tag, 1, FRAME_END)


def ack_one(channel: int, tag: int) -> bytes:
    """``basic.ack`` of one delivery."""
    return _settlement(METHOD, channel, 13, 60, 80, tag, 0, FRAME_END)


def reject(channel: int, tag: int, *, requeue: bool) -> bytes:
    """``basic.reject``; without ``requeue`` the broker makes a dead letter.

    With ``requeue`` RabbitMQ 4.3 counts it as a failed delivery.
    """
    return _settlement(METHOD, channel, 13, 60, 90, tag, int(requeue), FRAME_END)


def give_back(channel: int, tag: int) -> bytes:
    """``basic.nack`` with requeue of one delivery: RabbitMQ 4.3 does not count it."""
    return _settlement(METHOD, channel, 13, 60, 120, tag, 2, FRAME_END)


def give_back_all(channel: int) -> bytes:
    """``basic.nack`` with requeue of everything that is not settled yet, seen or not."""
    return _settlement(METHOD, channel, 13, 60, 120, 0, 3, FRAME_END)


def cancel(channel: int, consumer_tag: bytes) -> bytes:
    """``basic.cancel`` without an answer."""
    payload = b"\x00\x3c\x00\x1e" + bytes((len(consumer_tag),)) + consumer_tag + b"\x01"
    return _frame_head(METHOD, channel, len(payload)) + payload + b"\xce"


def close_channel(channel: int) -> bytes:
    """``channel.close``; the broker answers with :func:`channel_closed`."""
    return _close(METHOD, channel, 11, 20, 40, 200, 0, 0, 0, FRAME_END)


def channel_closed(channel: int) -> bytes:
    """The whole frame of ``channel.close-ok``."""
    return b"\x01" + channel.to_bytes(2, "big") + b"\x00\x00\x00\x04\x00\x14\x00\x29\xce"


@dataclass(slots=True)
class Delivery:
    """One message as it came from the broker."""

    #: What settles it, on the channel that it came on.
    tag: int
    #: The subscription it came through.
    consumer_tag: bytes
    #: The broker says that it delivered this message before.
    redelivered: bool
    exchange: str
    routing_key: str
    #: The properties as they came.
    raw_properties: bytes = b""
    body: bytes = b""

    def properties(self) -> dict[str, Any]:
        """The message's properties, its headers under ``application_headers``.

        Raises:
            Exception: the bytes are no properties; of any kind, for the decoder is py-amqp's.
        """
        return properties.decode(self.raw_properties)

    def original(self) -> Original:
        """The message as it was published."""
        return Original(
            exchange=self.exchange,
            routing_key=self.routing_key,
            properties=self.raw_properties,
            body=self.body,
        )


@dataclass(slots=True)
class Reader:
    """Makes deliveries of what a connection's socket gives.

    Args:
        channel: the channel whose deliveries are wanted.
        other: called with type, channel and payload of every other frame.
        largest: bytes that a frame may have, as agreed when the connection was made.
    """

    channel: int
    other: Callable[[int, int, bytes], None]
    largest: int = 131_072
    #: Whole messages, oldest first.
    deliveries: deque[Delivery] = field(default_factory=deque)
    #: ``basic.cancel-ok`` frames seen.
    cancelled: int = 0
    _rest: bytes = b""
    _current: Delivery | None = None
    _missing: int = 0
    _parts: list[bytes] = field(default_factory=list)

    def feed(self, data: bytes) -> None:
        """Take what was read.

        Raises:
            ConnectionError: it is not AMQP.
        """
        if self._rest:
            data = self._rest + data
        at, end = 0, len(data)
        while end - at >= 8:
            kind, channel, size = _frame(data, at)
            after = at + 8 + size
            if size > self.largest:
                raise ConnectionError(f"expected AMQP frames of at most {self.largest} bytes")
            if after > end:
                break
            if data[after - 1] != FRAME_END:
                raise ConnectionError("expected the end of an AMQP frame from the broker")
            payload = data[at + 7 : after - 1]
            at = after
            if channel != self.channel:
                self.other(kind, channel, payload)
            elif kind == METHOD:
                self._on_method(payload)
            elif kind == HEADER:
                self._on_header(payload)
            elif kind == BODY:
                self._on_body(payload)
        self._rest = data[at:]

    def _on_method(self, payload: bytes) -> None:
        (method,) = _method(payload)
        if method != _DELIVER:
            if method == _CANCEL_OK:
                self.cancelled += 1
            self.other(METHOD, self.channel, payload)
            return
        at = 5 + payload[4]
        consumer_tag = payload[5:at]
        (tag,) = _tag(payload, at)
        redelivered = bool(payload[at + 8] & 1)
        at += 9
        key = at + 1 + payload[at]
        self._current = Delivery(
            tag,
            consumer_tag,
            redelivered,
            payload[at + 1 : key].decode("utf-8", "replace"),
            payload[key + 1 : key + 1 + payload[key]].decode("utf-8", "replace"),
        )

    def _on_header(self, payload: bytes) -> None:
        delivery = self._current
        if delivery is None:
            raise ConnectionError("expected a delivery before its header")
        (self._missing,) = _body_size(payload)
        delivery.raw_properties = payload[12:]
        if not self._missing:
            self._complete(delivery)

    def _on_body(self, payload: bytes) -> None:
        delivery = self._current
        if delivery is None:
            raise ConnectionError("expected a header before a body")
        self._missing -= len(payload)
        if self._missing > 0:
            self._parts.append(payload)
            return
        delivery.body = b"".join([*self._parts, payload]) if self._parts else payload
        self._parts.clear()
        self._complete(delivery)

    def _complete(self, delivery: Delivery) -> None:
        self.deliveries.append(delivery)
        self._current = None
