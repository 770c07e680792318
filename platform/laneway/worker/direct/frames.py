"""The frames of AMQP 0-9-1 that settle deliveries, written without py-amqp.

They go out by the thousand, and the parent writes them for a process that has ended. What comes in
is read in :mod:`laneway.broker.deliveries`.

Source: the AMQP 0-9-1 specification, sections 2.3.5 and 4.2, and its XML for the numbers.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from laneway.broker.deliveries import FRAME_END, METHOD

#: A whole heartbeat frame.
HEARTBEAT: Final = b"\x08\x00\x00\x00\x00\x00\x00\xce"

_frame_head = Struct(">BHI").pack
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
