"""The properties of a message, as py-amqp decodes them, in half of the time.

A job's headers are some twenty items of a few types, and each costs py-amqp several calls. Here
they are read in one loop. Whatever else a message has (a decimal, a timestamp, bytes that are no
UTF-8, lengths that do not fit) makes py-amqp decode the whole of it: the bytes have one meaning,
and what is wrong with them one kind of error.

Source: the AMQP 0-9-1 specification, section 4.2.5, and RabbitMQ's list of its errata.
"""

from __future__ import annotations

from struct import Struct
from struct import error as struct_error
from typing import Any, Final

from amqp.serialization import decode_properties_basic

#: In the first byte of the flags: content type, content encoding and headers, which all jobs have.
_USUAL: Final = 0xE0
_DELIVERY_MODE: Final = 0x10
_PRIORITY: Final = 0x08
_CORRELATION_ID: Final = 0x04
_REPLY_TO: Final = 0x02
_EXPIRATION: Final = 0x01
#: Names of headers that are remembered: the few of jobs, however many others a message makes up.
_MOST_NAMES: Final = 1024

_length = Struct(">I").unpack_from
_int = Struct(">i").unpack_from
_long = Struct(">q").unpack_from
_double = Struct(">d").unpack_from

_names: dict[bytes, str] = {}


class _Unusual(Exception):
    """Something that is left to py-amqp."""


def decode(raw: bytes) -> dict[str, Any]:
    """A message's properties by name, its headers under ``application_headers``.

    Args:
        raw: what follows the size of the body in a content header: flags, then values.

    Raises:
        Exception: the bytes are no properties; of any kind, for the decoder is then py-amqp's.
    """
    try:
        return _decode(raw)
    except (_Unusual, IndexError, UnicodeDecodeError, struct_error):
        properties: dict[str, Any] = decode_properties_basic(raw, 0)[0]
        return properties


def _decode(raw: bytes) -> dict[str, Any]:
    flags = raw[0]
    if flags & _USUAL != _USUAL or flags & _EXPIRATION or raw[1]:
        raise _Unusual
    properties: dict[str, Any] = {}
    properties["content_type"], at = _short(raw, 2)
    properties["content_encoding"], at = _short(raw, at)
    end = at + 4 + _length(raw, at)[0]
    properties["application_headers"] = _table(raw, at + 4, end)
    at = end
    if flags & _DELIVERY_MODE:
        properties["delivery_mode"] = raw[at]
        at += 1
    if flags & _PRIORITY:
        properties["priority"] = raw[at]
        at += 1
    if flags & _CORRELATION_ID:
        properties["correlation_id"], at = _short(raw, at)
    if flags & _REPLY_TO:
        properties["reply_to"], at = _short(raw, at)
    if at > len(raw):
        raise _Unusual
    return properties


def _short(raw: bytes, at: int) -> tuple[str, int]:
    end = at + 1 + raw[at]
    return raw[at + 1 : end].decode(), end


def _table(raw: bytes, at: int, end: int) -> dict[str, Any]:
    table: dict[str, Any] = {}
    while at < end:
        after = at + 1 + raw[at]
        key = raw[at + 1 : after]
        name = _names.get(key)
        if name is None:
            name = key.decode()
            if len(_names) < _MOST_NAMES:
                _names[key] = name
        kind = raw[after]
        # The two most frequent ones without a call.
        if kind == 0x53:
            begin = after + 5
            at = begin + _length(raw, after + 1)[0]
            table[name] = raw[begin:at].decode()
        elif kind == 0x56:
            table[name] = None
            at = after + 1
        else:
            table[name], at = _value(raw, kind, after + 1)
    if at != end:
        # Some length did not fit.
        raise _Unusual
    return table


def _array(raw: bytes, at: int, end: int) -> list[Any]:
    array = []
    while at < end:
        value, at = _value(raw, raw[at], at + 1)
        array.append(value)
    if at != end:
        raise _Unusual
    return array


def _value(raw: bytes, kind: int, at: int) -> tuple[Any, int]:
    """The value of a type that begins at ``at``, and where it ends."""
    match chr(kind):
        case "V":
            return None, at
        case "t":
            return bool(raw[at]), at + 1
        case "I":
            return _int(raw, at)[0], at + 4
        case "l" | "L":
            return _long(raw, at)[0], at + 8
        case "b":
            return (raw[at] ^ 0x80) - 0x80, at + 1
        case "d":
            return _double(raw, at)[0], at + 8
        case "S" | "F" | "A" as sized:
            begin = at + 4
            end = begin + _length(raw, at)[0]
            if sized == "S":
                return raw[begin:end].decode(), end
            return (_table if sized == "F" else _array)(raw, begin, end), end
        case _:
            raise _Unusual
