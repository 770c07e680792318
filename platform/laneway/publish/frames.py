"""A publish as the bytes that AMQP 0-9-1 puts on the wire, and what the broker answers to it.

py-amqp writes each message from its parts, in Python. What does not change from one job of a task
to the next is written once (:mod:`laneway.calls.prepared`); this module knows the format.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from amqp.serialization import dumps

if TYPE_CHECKING:
    from collections.abc import Mapping

#: The only channel of a publisher's connection: its number is in every frame.
CHANNEL: Final = 1

_METHOD: Final = 1
_HEADER: Final = 2
_BODY: Final = 3
_END: Final = b"\xce"
# What a frame has besides its payload: type, channel and size before it, the end mark behind it.
_OVERHEAD: Final = 8
_BASIC: Final = 60
_frame_head = struct.Struct(">BHI").pack
_content_head = struct.Struct(">BHIHHQ").pack
_confirm = struct.Struct(">BHIHHQBB").pack

#: How the payloads of the broker's answers begin: class and method.
ACK: Final = struct.pack(">HH", _BASIC, 80)
NACK: Final = struct.pack(">HH", _BASIC, 120)
#: Reads the delivery tag of an ACK or NACK (offset 4) and whether it stands for all before it.
unpack_answer = struct.Struct(">QB").unpack_from

#: The properties that every job has, in the order in which they are written: content type and
#: encoding, headers, delivery mode, priority, correlation id, reply to, timestamp.
PROPERTY_FLAGS: Final = 0x8000 | 0x4000 | 0x2000 | 0x1000 | 0x0800 | 0x0400 | 0x0200 | 0x0040


def answer(frame: tuple[int, int, bytes]) -> bytes:
    """:data:`ACK` or :data:`NACK` if the frame is one to our channel, else something else."""
    kind, channel, payload = frame
    return payload[:4] if kind == _METHOD and channel == CHANNEL else b""


def confirm(tag: int) -> bytes:
    """The whole frame with which the broker confirms one message, and no other."""
    return _confirm(_METHOD, CHANNEL, 13, _BASIC, 80, tag, 0, 0xCE)


def table_items(items: Mapping[str, Any]) -> bytes:
    """The inside of a table: its items without its length."""
    return bytes(dumps("F", [items])[4:])


def publish_method(exchange: str, routing_key: str) -> bytes:
    """The frame that says where a message goes: mandatory, so that nothing is dropped."""
    payload: bytes = struct.pack(">HH", _BASIC, 40) + dumps(
        "Bssbb", (0, exchange, routing_key, True, False)
    )
    return _frame_head(_METHOD, CHANNEL, len(payload)) + payload + _END


def is_publish_method(frame: bytes) -> bool:
    """Whether it is a frame as :func:`publish_method` writes it."""
    start = _frame_head(_METHOD, CHANNEL, max(0, len(frame) - _OVERHEAD))
    return frame.startswith(start + struct.pack(">HH", _BASIC, 40)) and frame.endswith(_END)


class Publish(NamedTuple):
    """One message, ready for any connection."""

    #: The frame of :func:`publish_method`.
    method: bytes
    #: Flags and values of the properties.
    properties: bytes
    #: The payload; may be longer than a frame.
    body: bytes

    def frames(self, frame_max: int) -> bytes:
        """All its frames, for a connection whose frames have at most ``frame_max`` bytes."""
        method, properties, body = self
        size = len(body)
        head = _content_head(_HEADER, CHANNEL, len(properties) + 12, _BASIC, 0, size)
        room = frame_max - _OVERHEAD
        if not size:
            # An empty body has no frame at all.
            return b"".join((method, head, properties, _END))
        if size <= room:
            return b"".join(
                (method, head, properties, _END, _frame_head(_BODY, CHANNEL, size), body, _END)
            )
        parts = [method, head, properties, _END]
        for start in range(0, size, room):
            piece = body[start : start + room]
            parts += (_frame_head(_BODY, CHANNEL, len(piece)), piece, _END)
        return b"".join(parts)
