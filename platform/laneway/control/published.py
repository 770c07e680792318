"""A message's properties as they were published: without what the broker wrote into them.

The bytes are cut, not decoded and written again: a header of any type stays as it is, also one that
no decoder of ours understands. (The broker itself has sorted the headers by name when it gave the
message up, and an integer of 64 bits has its own letter for that; their values are the same.)

Source: the AMQP 0-9-1 specification, section 4.2.5, with RabbitMQ's letters of types.
"""

from __future__ import annotations

import struct
from typing import Final

from laneway.deadletter.properties import RAW_BROKERS_HEADERS, header_places

_CONTENT_TYPE, _CONTENT_ENCODING, _HEADERS = 0x8000, 0x4000, 0x2000
_DELIVERY_MODE, _PRIORITY, _CORRELATION_ID, _REPLY_TO = 0x1000, 0x0800, 0x0400, 0x0200
_EXPIRATION: Final = 0x0100
# A second word of flags follows: no property of AMQP 0-9-1 needs one.
_MORE_FLAGS: Final = 0x0001
_LONGEST_SHORT_STRING: Final = 255

_short = struct.Struct(">H")
_long = struct.Struct(">I")


def as_published(properties: bytes, expiration: str | None = None) -> bytes:
    """The properties of a message before the broker gave it up.

    Args:
        properties: as they were delivered from the dead inbox.
        expiration: what the message had as its own time to live; the broker took it away.

    Raises:
        ValueError: these are no properties.
    """
    try:
        return _as_published(properties, expiration)
    except (IndexError, struct.error) as error:
        raise ValueError(f"expected the properties of a message: {error}") from error


def _as_published(properties: bytes, expiration: str | None) -> bytes:
    (flags,) = _short.unpack_from(properties)
    if flags & _MORE_FLAGS:
        raise ValueError("expected one word of flags before the properties of a message")
    at = 2
    for flag in (_CONTENT_TYPE, _CONTENT_ENCODING):
        if flags & flag:
            at = _after_short_string(properties, at)
    parts = [properties[2:at]]
    if flags & _HEADERS:
        end = at + 4 + _long.unpack_from(properties, at)[0]
        headers = _without_brokers(properties, at + 4, end)
        if headers:
            parts += [_long.pack(len(headers)), headers]
        else:
            # There were none before the broker's.
            flags &= ~_HEADERS
        at = end
    start = at
    at += bool(flags & _DELIVERY_MODE) + bool(flags & _PRIORITY)
    for flag in (_CORRELATION_ID, _REPLY_TO):
        if flags & flag:
            at = _after_short_string(properties, at)
    if at > len(properties):
        raise ValueError("expected more bytes of properties")
    parts.append(properties[start:at])
    if expiration is not None and not flags & _EXPIRATION:
        text = expiration.encode()[:_LONGEST_SHORT_STRING]
        parts += [bytes((len(text),)), text]
        flags |= _EXPIRATION
    return b"".join([_short.pack(flags), *parts, properties[at:]])


def _without_brokers(data: bytes, at: int, end: int) -> bytes:
    """The fields of a table that are not the broker's own."""
    return b"".join(
        data[start:stop]
        for start, value, stop in header_places(data, at, end)
        if data[start + 1 : value] not in RAW_BROKERS_HEADERS
    )


def _after_short_string(data: bytes, at: int) -> int:
    return at + 1 + data[at]
