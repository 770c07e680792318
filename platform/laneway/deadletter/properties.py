"""A message's properties as bytes, changed in places and left as they are elsewhere.

A replayed message is the original's bytes with a few headers taken out or put in. Decoding and
encoding the rest could lose what this client does not know, and would cost more than all else.
Source: the AMQP 0-9-1 specification, 4.2.5 and 4.2.6, with RabbitMQ's types of values.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from laneway.publish.frames import table_items

if TYPE_CHECKING:
    from collections.abc import Iterator

_SHORT, _TABLE, _OCTET, _TIME = "short", "table", "octet", "time"
# By the bit that says that the property is there, in the order of writing.
_FIELDS: Final = (
    (0x8000, "content_type", _SHORT),
    (0x4000, "content_encoding", _SHORT),
    (0x2000, "headers", _TABLE),
    (0x1000, "delivery_mode", _OCTET),
    (0x0800, "priority", _OCTET),
    (0x0400, "correlation_id", _SHORT),
    (0x0200, "reply_to", _SHORT),
    (0x0100, "expiration", _SHORT),
    (0x0080, "message_id", _SHORT),
    (0x0040, "timestamp", _TIME),
    (0x0020, "type", _SHORT),
    (0x0010, "user_id", _SHORT),
    (0x0008, "app_id", _SHORT),
    (0x0004, "cluster_id", _SHORT),
)
_KNOWN_BITS: Final = 0xFFFC
# How long the value of a header is, by its type.
_FIXED: Final = {
    ord(kind): size
    for kinds, size in (("tbB", 1), ("suU", 2), ("iIf", 4), ("lLdT", 8), ("D", 5), ("V", 0))
    for kind in kinds
}
_LONG: Final = frozenset(map(ord, "SxFA"))
_length = struct.Struct(">I").unpack_from


#: The headers that the broker writes: when it delivers again, and when it gives a message up.
BROKERS_HEADERS: Final = frozenset(
    {
        "x-death",
        "x-first-death-exchange",
        "x-first-death-queue",
        "x-first-death-reason",
        "x-last-death-exchange",
        "x-last-death-queue",
        "x-last-death-reason",
        "x-delivery-count",
        "x-acquired-count",
    }
)
#: The same, as names stand on the wire.
RAW_BROKERS_HEADERS: Final = frozenset(name.encode() for name in BROKERS_HEADERS)


class PropertiesUnreadable(ValueError):
    """These bytes are no properties of a message."""


def header_places(data: bytes, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Where each header of a table stands: the length of its name, the type of its value, its end.

    Args:
        data: with the table in it.
        at: where its first header begins.
        end: where the last one must end.

    Raises:
        PropertiesUnreadable: these are no headers.
        IndexError, struct.error: the bytes end within one.
    """
    if end > len(data):
        raise PropertiesUnreadable("expected the end of the headers")
    while at < end:
        start = at + 1 + data[at]
        kind = data[start]
        if kind in _LONG:
            size = _length(data, start + 1)[0] + 4
        elif kind in _FIXED:
            size = _FIXED[kind]
        else:
            raise PropertiesUnreadable(f"expected the type of a header, got: {bytes((kind,))!r}")
        stop = start + 1 + size
        if stop > end:
            raise PropertiesUnreadable("expected a header, got the end of the headers")
        yield at, start, stop
        at = stop


class RawProperties:
    """Properties that are read only as far as they are asked for.

    Raises:
        PropertiesUnreadable: the bytes are none.
    """

    def __init__(self, data: bytes) -> None:
        #: By name, the bytes of each property but the headers.
        self.fields: dict[str, bytes] = {}
        #: By name, type and value of each header.
        self.headers: dict[bytes, bytes] = {}
        try:
            self._read(data)
        except (struct.error, IndexError) as error:
            raise PropertiesUnreadable(f"expected AMQP properties: {error!r}") from error

    def text(self, name: str) -> str | None:
        """A property that is a short text."""
        value = self.fields.get(name)
        return None if value is None else value[1:].decode("utf-8", "replace")

    def header_text(self, name: str) -> str | None:
        """A header, if it is a text."""
        value = self.headers.get(name.encode())
        if value is None or value[:1] != b"S":
            return None
        return value[5:].decode("utf-8", "replace")

    def put_text(self, name: str, text: str) -> None:
        """Set a property that is a short text."""
        data = text.encode()[:255]
        self.fields[name] = bytes((len(data),)) + data

    def put_header(self, name: str, value: object) -> None:
        """Set a header: None, a number or a text."""
        self.headers[name.encode()] = table_items({name: value})[len(name) + 1 :]

    def encode(self) -> bytes:
        """Flags and values as they stand on the wire."""
        flags = 0
        parts: list[bytes] = []
        for bit, name, kind in _FIELDS:
            if kind is _TABLE:
                if self.headers:
                    table = b"".join(
                        bytes((len(key),)) + key + value for key, value in self.headers.items()
                    )
                    flags |= bit
                    parts += (struct.pack(">I", len(table)), table)
            elif (value := self.fields.get(name)) is not None:
                flags |= bit
                parts.append(value)
        return struct.pack(">H", flags) + b"".join(parts)

    def _read(self, data: bytes) -> None:
        (flags,) = struct.unpack_from(">H", data)
        if flags & ~_KNOWN_BITS:
            raise PropertiesUnreadable(f"expected known properties, got the flags {flags:#06x}")
        at = 2
        for bit, name, kind in _FIELDS:
            if not flags & bit:
                continue
            if kind is _TABLE:
                end = at + 4 + _length(data, at)[0]
                for name_at, value_at, stop in header_places(data, at + 4, end):
                    self.headers[data[name_at + 1 : value_at]] = data[value_at:stop]
                at = end
                continue
            size = 1 + data[at] if kind is _SHORT else 8 if kind is _TIME else 1
            self.fields[name] = data[at : at + size]
            at += size
        if at != len(data):
            raise PropertiesUnreadable(f"expected {at} bytes of properties, got {len(data)}")
