"""Messages as the broker delivers them: whole ones, made of what a connection's socket gives.

py-amqp connects, logs in, opens the channel and understands everything that is rare. What comes by
the thousand is read here: one ``recv`` holds many frames, where py-amqp takes three reads for a
frame and three frames for a message.

Source: the AMQP 0-9-1 specification, sections 2.3.5 and 4.2, and its XML for the numbers.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from struct import Struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

METHOD: Final = 1
HEADER: Final = 2
BODY: Final = 3
FRAME_END: Final = 0xCE

_DELIVER: Final = (60 << 16) | 60
_CANCEL_OK: Final = (60 << 16) | 31
#: Pairs of exchange and routing key that are remembered: a queue's jobs have one, or a few.
_MOST_PLACES: Final = 256

_frame = Struct(">BHI").unpack_from
_method = Struct(">I").unpack_from
_tag = Struct(">Q").unpack_from
_body_size = Struct(">4xQ").unpack_from


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
    #: Flags and values of the basic properties as they came, the headers among them.
    raw_properties: bytes = b""
    body: bytes = b""


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
    _places: dict[bytes, tuple[str, str]] = field(default_factory=dict)

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
        (tag,) = _tag(payload, at)
        place = payload[at + 9 :]
        exchange, routing_key = self._places.get(place) or self._place(place)
        self._current = Delivery(
            tag, payload[5:at], bool(payload[at + 8] & 1), exchange, routing_key
        )

    def _place(self, place: bytes) -> tuple[str, str]:
        """Exchange and routing key, of the bytes that hold both."""
        key = 1 + place[0]
        found = (
            place[1:key].decode("utf-8", "replace"),
            place[key + 1 : key + 1 + place[key]].decode("utf-8", "replace"),
        )
        if len(self._places) < _MOST_PLACES:
            self._places[place] = found
        return found

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
